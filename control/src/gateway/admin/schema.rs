//! The JSON schema of a body, read off the very type that reads the body: it cannot drift.
//!
//! A deserializer that has no data, but watches what a type asks for.

use serde::de::{self, DeserializeOwned, DeserializeSeed, Deserializer, IntoDeserializer as _, Visitor};
use serde_json::{Map, Value, json};
use std::fmt;

/// The schema of `T`.
pub(super) fn of<T: DeserializeOwned>() -> Value {
    let mut schema = watch::<T>(None).0;
    let fields: Vec<String> =
        schema["properties"].as_object().map(|fields| fields.keys().cloned().collect()).unwrap_or_default();
    let required: Vec<&String> = fields.iter().filter(|field| watch::<T>(Some(field)).1).collect();
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

/// What `T` asks for, and whether it misses the field that is left out.
fn watch<T: DeserializeOwned>(left_out: Option<&str>) -> (Value, bool) {
    let mut schema = Value::Null;
    let outcome = T::deserialize(Probe { schema: &mut schema, left_out, depth: 0 });
    let missing = left_out.is_some_and(|field| {
        outcome.err().is_some_and(|Refused(message)| message.contains(&format!("missing field `{field}`")))
    });
    (schema, missing)
}

/// Types that hold themselves are not followed for ever.
const DEEPEST: usize = 6;

struct Probe<'a> {
    schema: &'a mut Value,
    left_out: Option<&'a str>,
    depth: usize,
}

impl<'a> Probe<'a> {
    fn is(self, schema: Value) {
        *self.schema = schema;
    }

    fn inner(&self, schema: &'a mut Value) -> Probe<'a> {
        Probe { schema, left_out: None, depth: self.depth + 1 }
    }
}

#[derive(Debug)]
struct Refused(String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

impl de::Error for Refused {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

macro_rules! scalars {
    ($($name:ident $visit:ident $($value:expr)?, $schema:tt;)*) => {$(
        fn $name<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
            self.is(json!($schema));
            visitor.$visit($($value)?)
        }
    )*};
}

impl<'de> Deserializer<'de> for Probe<'_> {
    type Error = Refused;

    scalars! {
        deserialize_any visit_unit, {};
        deserialize_bool visit_bool false, { "type": "boolean" };
        deserialize_i8 visit_i64 1, { "type": "integer" };
        deserialize_i16 visit_i64 1, { "type": "integer" };
        deserialize_i32 visit_i64 1, { "type": "integer" };
        deserialize_i64 visit_i64 1, { "type": "integer" };
        deserialize_u8 visit_u64 1, { "type": "integer", "minimum": 0 };
        deserialize_u16 visit_u64 1, { "type": "integer", "minimum": 0 };
        deserialize_u32 visit_u64 1, { "type": "integer", "minimum": 0 };
        deserialize_u64 visit_u64 1, { "type": "integer", "minimum": 0 };
        deserialize_f32 visit_f64 1.0, { "type": "number" };
        deserialize_f64 visit_f64 1.0, { "type": "number" };
        deserialize_char visit_char 'x', { "type": "string" };
        deserialize_str visit_str "", { "type": "string" };
        deserialize_string visit_str "", { "type": "string" };
        deserialize_bytes visit_bytes &[], { "type": "string" };
        deserialize_byte_buf visit_bytes &[], { "type": "string" };
        deserialize_unit visit_unit, {};
        deserialize_identifier visit_str "", { "type": "string" };
        deserialize_ignored_any visit_unit, {};
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        if self.depth > DEEPEST { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Refused> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Refused> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        let mut items = json!({});
        let deep = self.depth > DEEPEST;
        let outcome = visitor.visit_seq(Once(Some(self.inner(&mut items)).filter(|_| !deep)));
        self.is(json!({ "type": "array", "items": items }));
        outcome
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Refused> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Refused> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        self.is(json!({ "type": "object" }));
        visitor.visit_map(Fields { names: [].iter(), next: None, found: &mut Map::new(), depth: 0 })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refused> {
        let names: Vec<&'static str> =
            fields.iter().copied().filter(|name| self.depth <= DEEPEST && Some(*name) != self.left_out).collect();
        let mut found: Map<String, Value> = names.iter().map(|name| ((*name).to_owned(), json!({}))).collect();
        let walk = Fields { names: names.iter(), next: None, found: &mut found, depth: self.depth };
        let outcome = visitor.visit_map(walk);
        self.is(json!({ "type": "object", "properties": found, "additionalProperties": false }));
        outcome
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refused> {
        let mut plain = true;
        let first = variants.first().copied().unwrap_or_default();
        let outcome = visitor.visit_enum(Variant { name: first, plain: &mut plain });
        self.is(if plain {
            json!({ "type": "string", "enum": variants })
        } else {
            let fields: Map<String, Value> = variants.iter().map(|name| ((*name).to_owned(), json!({}))).collect();
            json!({ "type": "object", "properties": fields, "minProperties": 1, "maxProperties": 1,
                "additionalProperties": false })
        });
        outcome
    }
}

/// A list of one.
struct Once<'a>(Option<Probe<'a>>);

impl<'de> de::SeqAccess<'de> for Once<'_> {
    type Error = Refused;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Refused> {
        self.0.take().map(|probe| seed.deserialize(probe)).transpose()
    }
}

/// The fields of a struct, each once.
struct Fields<'a> {
    names: std::slice::Iter<'a, &'static str>,
    next: Option<&'static str>,
    found: &'a mut Map<String, Value>,
    depth: usize,
}

impl<'de> de::MapAccess<'de> for Fields<'_> {
    type Error = Refused;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Refused> {
        self.next = self.names.next().copied();
        self.next.map(|name| seed.deserialize(name.into_deserializer())).transpose()
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Refused> {
        let mut schema = json!({});
        let outcome = seed.deserialize(Probe { schema: &mut schema, left_out: None, depth: self.depth + 1 });
        if let Some(name) = self.next {
            self.found.insert(name.to_owned(), schema);
        }
        outcome
    }
}

/// The first variant of an enum, and whether it is a plain word.
struct Variant<'a> {
    name: &'static str,
    plain: &'a mut bool,
}

impl<'de, 'a> de::EnumAccess<'de> for Variant<'a> {
    type Error = Refused;
    type Variant = Self;

    fn variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<(T::Value, Self), Refused> {
        let name: de::value::StrDeserializer<'_, Refused> = self.name.into_deserializer();
        Ok((seed.deserialize(name)?, self))
    }
}

impl<'de> de::VariantAccess<'de> for Variant<'_> {
    type Error = Refused;

    fn unit_variant(self) -> Result<(), Refused> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Refused> {
        *self.plain = false;
        seed.deserialize(Probe { schema: &mut Value::Null, left_out: None, depth: DEEPEST })
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Refused> {
        *self.plain = false;
        visitor.visit_seq(Once(None))
    }

    fn struct_variant<V: Visitor<'de>>(self, fields: &'static [&'static str], visitor: V) -> Result<V::Value, Refused> {
        *self.plain = false;
        Probe { schema: &mut Value::Null, left_out: None, depth: 0 }.deserialize_struct("", fields, visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Body {
        name: String,
        count: Option<u16>,
        #[serde(default)]
        items: Vec<Item>,
        #[serde(rename = "kind")]
        word: Word,
        anything: Option<Value>,
        one_of: Option<Choice>,
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Item {
        value: String,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Word {
        Allow,
        Block,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "snake_case")]
    #[allow(dead_code)]
    enum Choice {
        Email { email: String },
        Everyone {},
    }

    #[test]
    fn a_type_tells_its_fields() {
        let schema = of::<Body>();
        let field = |name: &str| schema["properties"][name].clone();
        assert_eq!(schema["required"], json!(["kind", "name"]), "{schema}");
        assert_eq!(field("name"), json!({ "type": "string" }));
        assert_eq!(field("count"), json!({ "type": "integer", "minimum": 0 }));
        assert_eq!(field("kind"), json!({ "type": "string", "enum": ["allow", "block"] }));
        assert_eq!(field("items")["items"]["properties"]["value"], json!({ "type": "string" }));
        assert_eq!(field("anything"), json!({}));
        assert_eq!(field("one_of")["properties"], json!({ "email": {}, "everyone": {} }));
    }
}
