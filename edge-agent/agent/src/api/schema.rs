//! The words of other crates as the document describes them.

use std::borrow::Cow;

use device_model::{AckCode, QualityCode};
use device_twin::store::TopicFilter as Filter;
use utoipa::openapi::schema::{AdditionalProperties, SchemaType};
use utoipa::openapi::{KnownFormat, Object, ObjectBuilder, Ref, RefOr, Schema, SchemaFormat, Type};
use utoipa::{PartialSchema, ToSchema};

/// Largest version and revision: exact in JSON.
pub(super) const LAST: u64 = (1 << 53) - 1;

/// What [`Filter::new`] takes, but for characters that Unicode has set aside.
const FILTER: &str = r"^(#|(\+|[^+#/$\u0000-\u001f\u007f-\u009f][^+#/\u0000-\u001f\u007f-\u009f]*)?(/(\+|[^+#/\u0000-\u001f\u007f-\u009f]*)){0,62}(/(#|\+|[^+#/\u0000-\u001f\u007f-\u009f]*))?)$";

macro_rules! described {
    ($($name:ident => $object:expr;)*) => {$(
        pub(super) struct $name;

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                $object.into()
            }
        }

        impl ToSchema for $name {
            fn name() -> Cow<'static, str> {
                stringify!($name).into()
            }
        }
    )*};
}

described! {
    Time => ObjectBuilder::new()
        .schema_type(Type::String)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
        .description(Some("A time, in UTC, with milliseconds"))
        .examples(["2026-11-21T12:00:00.000Z"]);
    Version => ObjectBuilder::new()
        .schema_type(Type::Integer)
        .description(Some("Counts upwards; exact in JSON"))
        .minimum(Some(0))
        .maximum(Some(LAST));
    DeviceId => ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some("namespace/name of a device"))
        .pattern(Some("^[a-z0-9.-]{1,253}/[a-z0-9.-]{1,253}$"))
        .examples(["demo/pump"]);
    DataType => words("Type of a property", ["INT", "FLOAT", "DOUBLE", "STRING", "BOOLEAN", "BYTES"]);
    Access => words("Who may change a property: the device alone, or also whoever desires a value", ["ReadOnly", "ReadWrite"]);
    Quality => words("How far a reading may be trusted; bad: there is none, the last good one stands beside it", ["good", "uncertain", "bad"]);
    Reason => words("Why a reading has its quality", QualityCode::ALL.map(|code| code.to_string()));
    State => words("What its mapper says about a device", ["online", "offline", "unhealthy", "unknown"]);
    Code => ObjectBuilder::new()
        .schema_type(Type::Integer)
        .description(Some("What became of a desired value"))
        .enum_values(Some(AckCode::ALL.map(AckCode::number)));
    TopicFilter => ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some("A filter of topics, as MQTT writes it, for none that begins with $"))
        .min_length(Some(1))
        .max_length(Some(Filter::LONGEST))
        .pattern(Some(FILTER))
        .examples(["default/alarms"]);
    Given => ObjectBuilder::new()
        .schema_type(SchemaType::Array(vec![Type::String, Type::Number, Type::Boolean, Type::Null]))
        .description(Some("Text, a number or a truth; null withdraws the wish"))
        .examples(["1450"]);
}

fn words<T: Into<String>>(description: &str, words: impl IntoIterator<Item = T>) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some(description))
        .enum_values(Some(words.into_iter().map(Into::into).collect::<Vec<String>>()))
}

/// An object with at least one member, each of them a `DesiredValue`.
pub(super) fn wishes() -> Object {
    ObjectBuilder::new()
        .schema_type(Type::Object)
        .description(Some("What to write, by property: all of it is taken, or none"))
        .additional_properties(Some(AdditionalProperties::RefOr(RefOr::Ref(
            Ref::from_schema_name("DesiredValue"),
        ))))
        .min_properties(Some(1))
        .build()
}
