//! Tokens -> tree, by recursive descent:
//!
//! ```text
//! any  = all { ("or" | "||") all }
//! all  = unit { ("and" | "&&") unit }
//! unit = ("not" | "!") unit | "(" any ")" | selector "==" value | selector "in" ("{" value... "}" | $list)
//! ```

use super::RuleError;
use super::expression::{Expression, Selector, Test};
use super::lexer::{Token, tokens};
use super::values;

/// Deepest nesting of parentheses and `not`s, so that no input can exhaust the stack.
const MAX_DEPTH: usize = 32;

/// Which of a rule's expressions is read, which decides the selectors it may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    Traffic,
    Identity,
}

/// Reads an expression; blank text is true.
pub(super) fn parse(text: &str, scope: Scope) -> Result<Expression, RuleError> {
    let mut parser = Parser { tokens: tokens(text)?, at: 0, scope };
    if *parser.token() == Token::End {
        return Ok(Expression::always());
    }
    let expression = parser.any(0)?;
    match parser.token() {
        Token::End => Ok(expression),
        _ => Err(parser.expected("`and`, `or` or the end")),
    }
}

struct Parser {
    /// Ends in [`Token::End`], which is never passed.
    tokens: Vec<(usize, Token)>,
    at: usize,
    scope: Scope,
}

impl Parser {
    fn token(&self) -> &Token {
        self.tokens.get(self.at).map_or(&Token::End, |(_, token)| token)
    }

    fn column(&self) -> usize {
        self.tokens.get(self.at).map_or(1, |(column, _)| *column)
    }

    fn advance(&mut self) {
        if *self.token() != Token::End {
            self.at += 1;
        }
    }

    /// Passes the token if it is this word or sign.
    fn take(&mut self, what: &str) -> bool {
        let found = match self.token() {
            Token::Word(word) => word.eq_ignore_ascii_case(what),
            Token::Sign(sign) => *sign == what,
            _ => false,
        };
        if found {
            self.advance();
        }
        found
    }

    fn expected(&self, expected: &str) -> RuleError {
        RuleError::Expected { column: self.column(), expected: expected.to_owned(), got: self.token().describe() }
    }

    fn any(&mut self, depth: usize) -> Result<Expression, RuleError> {
        let mut parts = vec![self.all(depth)?];
        while self.take("or") || self.take("||") {
            parts.push(self.all(depth)?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Expression::Any(parts) })
    }

    fn all(&mut self, depth: usize) -> Result<Expression, RuleError> {
        let mut parts = vec![self.unit(depth)?];
        while self.take("and") || self.take("&&") {
            parts.push(self.unit(depth)?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Expression::All(parts) })
    }

    fn unit(&mut self, depth: usize) -> Result<Expression, RuleError> {
        let column = self.column();
        if depth > MAX_DEPTH {
            return Err(self.expected(&format!("at most {MAX_DEPTH} levels of parentheses")));
        }
        if self.take("not") || self.take("!") {
            let inner = Box::new(self.unit(depth + 1)?);
            return Ok(Expression::Not { column, inner });
        }
        if self.take("(") {
            let inner = self.any(depth + 1)?;
            return if self.take(")") { Ok(inner) } else { Err(self.expected("`and`, `or` or `)`")) };
        }
        let selector = self.selector()?;
        self.test(selector).map(Expression::Test)
    }

    fn selector(&mut self) -> Result<Selector, RuleError> {
        let known = match self.scope {
            Scope::Traffic => "`net.dst.ip`, `net.dst.port` or `net.protocol`",
            Scope::Identity => "`identity.email`",
        };
        let Token::Word(word) = self.token().clone() else { return Err(self.expected(known)) };
        let selector = match (self.scope, word.as_str()) {
            (Scope::Traffic, "net.dst.ip") => Selector::Destination,
            (Scope::Traffic, "net.dst.port") => Selector::Port,
            (Scope::Traffic, "net.protocol") => Selector::Protocol,
            (Scope::Identity, "identity.email") => Selector::Email,
            (_, word) if is_the_vendors(word) => {
                let why = format!("use {known} in this expression");
                return Err(RuleError::Unsupported { column: self.column(), what: format!("`{word}`"), why });
            }
            _ => return Err(self.expected(known)),
        };
        self.advance();
        Ok(selector)
    }

    fn test(&mut self, selector: Selector) -> Result<Test, RuleError> {
        let column = self.column();
        if self.take("==") {
            let value = self.value(selector)?;
            return values::test(selector, &[value]);
        }
        if !self.take("in") {
            let unsupported = match self.token() {
                Token::Sign(sign @ ("!=" | ">=" | "<=" | ">" | "<")) => (*sign).to_owned(),
                Token::Word(word) if word == "matches" => word.clone(),
                _ => return Err(self.expected("`==` or `in`")),
            };
            let why = "use `==` or `in {..}`".to_owned();
            return Err(RuleError::Unsupported { column, what: format!("`{unsupported}`"), why });
        }
        let column = self.column();
        if let Token::List(id) = self.token().clone() {
            if selector != Selector::Destination {
                let (what, why) = ("a list here".to_owned(), "lists hold addresses: use `net.dst.ip`".to_owned());
                return Err(RuleError::Unsupported { column, what, why });
            }
            self.advance();
            return Ok(Test::DestinationList { column, id });
        }
        if !self.take("{") {
            return Err(self.expected("`{` (a set is written `{a b}`)"));
        }
        let mut set = Vec::new();
        while !self.take("}") {
            set.push(self.value(selector)?);
        }
        if set.is_empty() {
            let expected = "at least one value in the set".to_owned();
            return Err(RuleError::Expected { column, expected, got: "`{}`".to_owned() });
        }
        values::test(selector, &set)
    }

    /// A bare or quoted value with its column.
    fn value(&mut self, selector: Selector) -> Result<(usize, String), RuleError> {
        let column = self.column();
        match self.token().clone() {
            Token::Word(value) | Token::Text(value) => {
                self.advance();
                Ok((column, value))
            }
            _ => Err(self.expected(values::wanted(selector))),
        }
    }
}

/// Words that begin something in the vendor's language which this gateway does not have.
fn is_the_vendors(word: &str) -> bool {
    const NAMES: [&str; 9] = ["any", "access.", "app.", "net.", "identity.", "device_posture.", "http.", "dns.", "os."];
    NAMES.iter().any(|name| word == *name || (name.ends_with('.') && word.starts_with(name)))
}
