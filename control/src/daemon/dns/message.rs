//! DNS messages as they pass: the question is read, everything else goes through byte by byte.

use hickory_server::proto::{
    op::{Header, MessageType, OpCode, Query, ResponseCode},
    rr::Name,
    serialize::binary::{BinDecodable, BinDecoder},
};

/// Bytes of a message before its question.
const HEADER: usize = 12;
/// The bit of a response, and those that a refusal keeps of its query: opcode and "recursion desired".
const RESPONSE: u8 = 0b1000_0000;
const KEPT: u8 = 0b0111_1001;
/// "Recursion available".
const AVAILABLE: u8 = 0b1000_0000;

/// What a message asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Question(Query);

impl Question {
    /// Reads a query's. `None` for what deserves no answer: a response, or bytes without a header.
    pub(super) fn read(message: &[u8]) -> Option<Result<Self, ResponseCode>> {
        let mut decoder = BinDecoder::new(message);
        let header = Header::read(&mut decoder).ok()?;
        if header.metadata.message_type == MessageType::Response {
            return None;
        }
        if header.metadata.op_code != OpCode::Query {
            return Some(Err(ResponseCode::NotImp));
        }
        if header.counts.queries != 1 {
            return Some(Err(ResponseCode::FormErr));
        }
        Some(Query::read(&mut decoder).map(Self).map_err(|_| ResponseCode::FormErr))
    }

    /// The name asked for.
    pub(super) fn name(&self) -> &Name {
        &self.0.name
    }

    /// Whether `message` answers this question under `id`. Its response code, if it does.
    pub(super) fn answered(&self, message: &[u8], id: u16) -> Option<ResponseCode> {
        let mut decoder = BinDecoder::new(message);
        let header = Header::read(&mut decoder).ok()?;
        let matches = header.metadata.message_type == MessageType::Response && header.metadata.id == id;
        let code = header.metadata.response_code;
        let same = match header.counts.queries {
            1 => Query::read(&mut decoder).is_ok_and(|asked| asked == self.0),
            // Some leave the question out of a refusal.
            0 => code != ResponseCode::NoError,
            _ => false,
        };
        (matches && same).then_some(code)
    }
}

/// The id of a message that has a header.
pub(super) fn id(message: &[u8]) -> u16 {
    message.first_chunk().map_or(0, |bytes| u16::from_be_bytes(*bytes))
}

/// Gives a message another id.
pub(super) fn set_id(message: &mut [u8], id: u16) {
    if let Some(bytes) = message.first_chunk_mut() {
        *bytes = id.to_be_bytes();
    }
}

/// The answer to `query` that says nothing but `code`: its header, and its question where that can be read.
pub(super) fn refusal(query: &[u8], code: ResponseCode) -> Vec<u8> {
    let mut decoder = BinDecoder::new(query);
    let whole = Header::read(&mut decoder).is_ok_and(|header| header.counts.queries == 1);
    let end = if whole && Query::read(&mut decoder).is_ok() { decoder.index() } else { HEADER };
    let mut answer = query.get(..end).unwrap_or(query).to_vec();
    answer.resize(answer.len().max(HEADER), 0);
    answer[2] = (answer[2] & KEPT) | RESPONSE;
    answer[3] = AVAILABLE | code.low();
    answer[4..HEADER].fill(0);
    answer[5] = u8::from(end > HEADER);
    answer
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use hickory_server::proto::{
        op::{Message, Metadata},
        rr::{RData, Record, RecordType, rdata::A},
    };
    use proptest::prelude::*;

    /// A query for `name`.
    pub(in super::super) fn query(id: u16, name: &str, kind: RecordType) -> Vec<u8> {
        let mut message = Message::query();
        message.metadata = Metadata::new(id, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = true;
        message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
        message.to_vec().unwrap()
    }

    /// What answers it with an address.
    pub(in super::super) fn answer(query: &[u8], address: [u8; 4], code: ResponseCode) -> Vec<u8> {
        let asked = Message::from_vec(query).unwrap();
        let mut message = Message::response(asked.metadata.id, OpCode::Query);
        message.metadata.response_code = code;
        let name = asked.queries[0].name.clone();
        message.add_query(asked.queries[0].clone());
        if code == ResponseCode::NoError {
            message.add_answer(Record::from_rdata(name, 60, RData::A(A::from(std::net::Ipv4Addr::from(address)))));
        }
        message.to_vec().unwrap()
    }

    #[test]
    fn only_an_answer_to_the_question_counts() {
        let asked = query(7, "dc1.corp.example.", RecordType::A);
        let question = Question::read(&asked).unwrap().unwrap();
        let right = answer(&asked, [10, 20, 0, 10], ResponseCode::NoError);
        assert_eq!(question.answered(&right, 7), Some(ResponseCode::NoError));
        assert_eq!(question.answered(&right, 8), None, "another id");
        assert_eq!(question.answered(&asked, 7), None, "a query is no answer");
        let shouted = answer(&query(7, "DC1.CORP.example.", RecordType::A), [1; 4], ResponseCode::NoError);
        assert_eq!(question.answered(&shouted, 7), Some(ResponseCode::NoError), "letter case is nothing");
        let other = answer(&query(7, "dc2.corp.example.", RecordType::A), [1; 4], ResponseCode::NoError);
        assert_eq!(question.answered(&other, 7), None, "another name");
        let other = answer(&query(7, "dc1.corp.example.", RecordType::AAAA), [1; 4], ResponseCode::NXDomain);
        assert_eq!(question.answered(&other, 7), None, "another type");
    }

    #[test]
    fn a_refusal_keeps_id_and_question_and_nothing_else() {
        let mut asked = query(7, "dc1.corp.example.", RecordType::SRV);
        asked.extend_from_slice(b"rest");
        let refused = Message::from_vec(&refusal(&asked, ResponseCode::ServFail)).unwrap();
        assert_eq!((refused.metadata.id, refused.metadata.response_code), (7, ResponseCode::ServFail));
        assert!(refused.metadata.recursion_desired && refused.metadata.recursion_available);
        assert_eq!(refused.queries[0].query_type, RecordType::SRV);
        assert_eq!(refusal(b"\0\x07", ResponseCode::FormErr).len(), HEADER);
    }

    #[test]
    fn what_is_no_query_is_told_apart() {
        let asked = query(7, "corp.example.", RecordType::A);
        assert_eq!(Question::read(&answer(&asked, [1; 4], ResponseCode::NoError)), None, "a response");
        assert_eq!(Question::read(&asked[..11]), None, "no header");
        assert_eq!(Question::read(&asked[..15]), Some(Err(ResponseCode::FormErr)), "half a name");
        let mut update = asked.clone();
        update[2] |= 5 << 3;
        assert_eq!(Question::read(&update), Some(Err(ResponseCode::NotImp)), "an update goes to the server itself");
        let mut two = asked;
        two[5] = 2;
        assert_eq!(Question::read(&two), Some(Err(ResponseCode::FormErr)), "two questions");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..600), code in 0_u8..16) {
            let question = Question::read(&bytes);
            let refused = refusal(&bytes, ResponseCode::from_low(code));
            prop_assert!(refused.len() >= HEADER && refused.len() <= bytes.len().max(HEADER));
            prop_assert_eq!(Question::read(&refused), None, "an answer is never asked again");
            if let Some(Ok(question)) = question {
                prop_assert_eq!(question.answered(&bytes, id(&bytes)), None);
            }
        }
    }
}
