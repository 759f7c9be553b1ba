//! Tokens -> tree, by recursive descent. The grammar is on the module.

use super::RuleError;
use super::lexer::{Token, tokens};
use super::selectors::{self, Scope, Selector, Values};
use super::tree::{Comparison, Expression, Field, Quantifier, Relation, Test};
use super::values::{self, Operator};

/// Deepest nesting of parentheses and `not`s, so that no input can exhaust the stack.
const MAX_DEPTH: usize = 32;
/// Most comparisons of one expression, so that none costs a judgement more than some hundred microseconds.
const MAX_TESTS: usize = 1000;
/// Most regular expressions of one expression: each may take half a mebibyte.
const MAX_PATTERNS: usize = 16;

/// Reads an expression; blank text is true.
///
/// # Errors
/// Says the column, what was expected and what stands there.
pub(in crate::rules) fn parse(text: &str, scope: Scope) -> Result<Expression, RuleError> {
    let mut parser = Parser { tokens: tokens(text)?, at: 0, scope, tests: 0, patterns: 0 };
    if *parser.token() == Token::End {
        return Ok(Expression::always());
    }
    let expression = parser.or(0)?;
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
    tests: usize,
    patterns: usize,
}

impl Parser {
    fn token(&self) -> &Token {
        self.tokens.get(self.at).map_or(&Token::End, |(_, token)| token)
    }

    fn next_token(&self) -> &Token {
        self.tokens.get(self.at + 1).map_or(&Token::End, |(_, token)| token)
    }

    fn column(&self) -> usize {
        self.tokens.get(self.at).map_or(1, |(column, _)| *column)
    }

    fn advance(&mut self) {
        if *self.token() != Token::End {
            self.at += 1;
        }
    }

    fn stands(&self, what: &str) -> bool {
        match self.token() {
            Token::Word(word) => word.eq_ignore_ascii_case(what),
            Token::Sign(sign) => *sign == what,
            _ => false,
        }
    }

    /// Passes the token if it is one of these words or signs.
    fn take(&mut self, what: &[&str]) -> bool {
        let found = what.iter().any(|what| self.stands(what));
        if found {
            self.advance();
        }
        found
    }

    fn demand(&mut self, sign: &str, expected: &str) -> Result<(), RuleError> {
        if self.take(&[sign]) { Ok(()) } else { Err(self.expected(expected)) }
    }

    fn expected(&self, expected: impl Into<String>) -> RuleError {
        RuleError::Expected { column: self.column(), expected: expected.into(), got: self.token().describe() }
    }

    fn or(&mut self, depth: usize) -> Result<Expression, RuleError> {
        let mut parts = vec![self.xor(depth)?];
        while self.take(&["or", "||"]) {
            parts.push(self.xor(depth)?);
        }
        Ok(single(parts, Expression::Any))
    }

    fn xor(&mut self, depth: usize) -> Result<Expression, RuleError> {
        let mut left = self.and(depth)?;
        let mut chained = depth;
        while self.take(&["xor", "^^"]) {
            // A chain is as deep as it is long.
            chained += 1;
            self.check_depth(chained)?;
            left = Expression::Xor(Box::new(left), Box::new(self.and(depth)?));
        }
        Ok(left)
    }

    fn and(&mut self, depth: usize) -> Result<Expression, RuleError> {
        let mut parts = vec![self.unit(depth)?];
        while self.take(&["and", "&&"]) {
            parts.push(self.unit(depth)?);
        }
        Ok(single(parts, Expression::All))
    }

    fn check_depth(&self, depth: usize) -> Result<(), RuleError> {
        if depth > MAX_DEPTH {
            return Err(self.expected(format!("at most {MAX_DEPTH} levels of parentheses, `not` and `xor`")));
        }
        Ok(())
    }

    fn unit(&mut self, depth: usize) -> Result<Expression, RuleError> {
        self.check_depth(depth)?;
        if self.take(&["not", "!"]) {
            return Ok(Expression::Not(Box::new(self.unit(depth + 1)?)));
        }
        if self.take(&["("]) {
            let inner = self.or(depth + 1)?;
            self.demand(")", "`and`, `or` or `)`")?;
            return Ok(inner);
        }
        let Token::Word(word) = self.token() else {
            return Err(self.expected(selectors::offered(self.scope)));
        };
        if *self.next_token() != Token::Sign("(") {
            return self.test(None);
        }
        let quantifier = match word.to_ascii_lowercase().as_str() {
            "any" => Quantifier::Any,
            "all" => Quantifier::All,
            name => {
                let what = format!("the function `{}`", super::lexer::shortened(name));
                let why = "there are `any(...)` and `all(...)`; mail addresses and host names ignore case as they are";
                return Err(RuleError::Unsupported { column: self.column(), what, why: why.to_owned() });
            }
        };
        self.advance();
        self.advance();
        let test = self.test(Some(quantifier))?;
        self.demand(")", "`)` behind the comparison")?;
        Ok(test)
    }

    /// A comparison, inside of a quantifier or by itself.
    fn test(&mut self, quantifier: Option<Quantifier>) -> Result<Expression, RuleError> {
        let column = self.column();
        self.tests += 1;
        if self.tests > MAX_TESTS {
            return Err(RuleError::TooMany { column, what: "comparisons", limit: MAX_TESTS });
        }
        let (selector, field) = self.path()?;
        if quantifier.is_some() && selector.values == Values::One {
            let expected = "a selector of many values in `any` or `all`, as `identity.groups.name[*]`".to_owned();
            return Err(RuleError::Expected { column, expected, got: format!("`{}`", selector.name) });
        }
        let asked = self.operator()?;
        let comparison = self.comparison(selector, &field, &asked)?;
        let negated = asked.negated;
        let inside = quantifier.is_some() && selector.values == Values::Many;
        if field == Field::SniDomains && (quantifier == Some(Quantifier::All) || inside && negated) {
            let why = "a name's domains are the name and all above it; use `any(net.sni.domains[*] ...)`, and `not` before it";
            let what = "this".to_owned();
            return Err(RuleError::Unsupported { column, what, why: why.to_owned() });
        }
        let test = Expression::Test(Test {
            column,
            field,
            quantifier: quantifier.unwrap_or(Quantifier::Any),
            negated: inside && negated,
            comparison,
        });
        Ok(if negated && !inside { Expression::Not(Box::new(test)) } else { test })
    }

    /// A selector's name with its `[*]`s and, for attributes, its key.
    fn path(&mut self) -> Result<(&'static Selector, Field), RuleError> {
        let column = self.column();
        let Token::Word(first) = self.token().clone() else {
            return Err(self.expected(selectors::offered(self.scope)));
        };
        self.advance();
        let mut name = first;
        let (mut starred, mut key) = (false, None);
        while self.take(&["["]) {
            match self.token() {
                Token::Word(word) if word == "*" => starred = true,
                token @ (Token::Text(_) | Token::Raw(_)) => {
                    key = Some(values::attribute(token).ok_or_else(|| self.expected("an attribute's name in quotes"))?);
                }
                _ => return Err(self.expected("`*` or an attribute's name in quotes")),
            }
            self.advance();
            self.demand("]", "`]`")?;
            if let Token::Word(word) = self.token()
                && word.starts_with('.')
            {
                name.push_str(word);
                self.advance();
            }
        }
        let Some(selector) = selectors::find(&name) else {
            let what = format!("`{}`", super::lexer::shortened(&name));
            return Err(match selectors::refusal(&name) {
                Some(why) => RuleError::Unsupported { column, what, why: why.to_owned() },
                None => RuleError::Expected { column, expected: selectors::offered(self.scope), got: what },
            });
        };
        if !selector.scopes.contains(&self.scope) {
            let places: Vec<&str> = selector.scopes.iter().map(|scope| scope.name()).collect();
            let why = format!("it belongs into {}, this is {}", places.join(" or "), self.scope.name());
            return Err(RuleError::Unsupported { column, what: format!("`{name}`"), why });
        }
        let wrong = |expected: &str, got: String| RuleError::Expected { column, expected: expected.to_owned(), got };
        if starred && selector.values == Values::One {
            return Err(wrong("a selector of one value without `[*]`", format!("`{name}[*]`")));
        }
        match (&selector.field, key) {
            (Field::Attribute(_), key) => Ok((selector, Field::Attribute(key))),
            (field, None) => Ok((selector, field.clone())),
            (_, Some(key)) => {
                let got = format!("`{name}[\"{}\"]`", super::lexer::shortened(&key));
                Err(wrong("only `identity.saml_attributes` with a name in brackets", got))
            }
        }
    }

    fn operator(&mut self) -> Result<Asked, RuleError> {
        let column = self.column();
        let negated =
            self.stands("not") && matches!(self.next_token(), Token::Word(word) if word.eq_ignore_ascii_case("in"));
        if negated {
            self.advance();
        }
        let word = match self.token() {
            Token::Word(word) => word.to_ascii_lowercase(),
            Token::Sign(sign) => (*sign).to_owned(),
            _ => String::new(),
        };
        let (operator, opposite) = match word.as_str() {
            "==" | "eq" | "in" => (Operator::Is(Relation::Equal), false),
            "!=" | "ne" => (Operator::Is(Relation::Equal), true),
            ">" | "gt" => (Operator::Is(Relation::Greater), false),
            ">=" | "ge" => (Operator::Is(Relation::GreaterOrEqual), false),
            "<" | "lt" => (Operator::Is(Relation::Less), false),
            "<=" | "le" => (Operator::Is(Relation::LessOrEqual), false),
            "matches" | "~" => (Operator::Matches, false),
            "contains" => (Operator::Contains, false),
            "wildcard" | "strict" => {
                let why = "use `matches` with a regular expression, or `contains`".to_owned();
                return Err(RuleError::Unsupported { column, what: format!("`{word}`"), why });
            }
            _ => return Err(self.expected("`==`, `!=`, `in`, `matches`, `contains`, `<`, `<=`, `>` or `>=`")),
        };
        self.advance();
        Ok(Asked { column, operator, set: word == "in", negated: negated || opposite })
    }

    fn comparison(&mut self, selector: &Selector, field: &Field, asked: &Asked) -> Result<Comparison, RuleError> {
        let column = self.column();
        if let Token::List(id) = self.token() {
            if !asked.set {
                return Err(self.expected(format!("{}, or `in` before a list", values::wanted(field))));
            }
            if values::list_type(field).is_none() {
                let what = format!("a list with `{}`", selector.name);
                let why = "no type of list holds such values; write them in a set `{...}`".to_owned();
                return Err(RuleError::Unsupported { column, what, why });
            }
            let id = id.to_ascii_lowercase();
            self.advance();
            return Ok(Comparison::List { column, id });
        }
        let mut taken = Vec::new();
        if asked.set {
            self.demand("{", "a set (`{...}`) or a list (`$id`) after `in`")?;
            while !self.take(&["}"]) {
                if *self.token() == Token::End {
                    return Err(self.expected("a value or `}`"));
                }
                taken.push((self.column(), self.token().clone()));
                self.advance();
            }
            if taken.is_empty() {
                return Err(values::nothing(column));
            }
        } else {
            taken.push((column, self.token().clone()));
        }
        let comparison = values::comparison(selector, field, (asked.column, asked.operator), &taken)?;
        if !asked.set {
            self.advance();
        }
        if matches!(comparison, Comparison::Matches(_)) {
            self.patterns += 1;
            if self.patterns > MAX_PATTERNS {
                return Err(RuleError::TooMany { column, what: "regular expressions", limit: MAX_PATTERNS });
            }
        }
        Ok(comparison)
    }
}

/// An operator as it stands.
struct Asked {
    column: usize,
    operator: Operator,
    /// A set or a list follows.
    set: bool,
    /// The opposite is asked.
    negated: bool,
}

/// One part by itself, several joined; a nested join of the same kind is one with this.
fn single(mut parts: Vec<Expression>, join: fn(Vec<Expression>) -> Expression) -> Expression {
    match parts.pop() {
        Some(only) if parts.is_empty() => only,
        last => {
            parts.extend(last);
            join(parts)
        }
    }
}
