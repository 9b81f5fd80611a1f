//! What a mapper says about one device: readings, acknowledgements, echoes of desired values. Mappers write it in
//! `encode.rs`; here the agent reads it.

use std::collections::BTreeMap;

use device_model::{
    Ack, AckCode, DataType, Device, DeviceId, Generation, Problem, Property, PropertyName, Quality,
    QualityCode, Reading, Timestamp, Value,
};

use tonic::Status;

use super::words;
use crate::proto::{ReportDeviceStatusRequest, Twin, TwinProperty};
use crate::refusal;

/// One property's part of a report.
#[derive(Clone, Debug, PartialEq)]
pub struct TwinReport {
    /// Which property.
    pub property: PropertyName,
    /// What was read, if this tells it.
    pub reading: Option<Reading>,
    /// What became of a desired value, if this tells it.
    pub ack: Option<Ack>,
    /// Text of the desired value that the mapper acts on: an echo, never a wish (rule R12). None for the empty text.
    pub observed: Option<String>,
}

/// A report, judged property by property.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// What may be applied, in the order of the message.
    pub twins: Vec<TwinReport>,
    /// Where in the message each of `twins` stands.
    pub places: Vec<usize>,
    /// Why the others may not. If any: apply `twins`, then answer with [`Report::refusal`].
    pub refused: Vec<Problem>,
}

impl Report {
    /// `INVALID_ARGUMENT` that names what was refused, as far as a header carries it; none if nothing was.
    pub fn refusal(&self) -> Option<Status> {
        (!self.refused.is_empty()).then(|| refusal::invalid(self.refused.iter()))
    }
}

/// Which device a report is about.
///
/// # Errors
/// A name that no device can have.
pub fn report_device(request: &ReportDeviceStatusRequest) -> Result<DeviceId, Problem> {
    super::device_id(&request.device_namespace, &request.device_name)
}

/// Reads a report on `device`; what bears no time of its own was sampled `now`.
///
/// From a mapper that knows none of our words, a value is a good reading. An empty value of a number, a truth or
/// octets is what KubeEdge's framework makes of no value: a bad reading, `no_data`.
pub fn report_from_proto(
    request: ReportDeviceStatusRequest,
    device: &Device,
    now: Timestamp,
) -> Report {
    let mut report = Report::default();
    let twins = request.reported_device.map(|status| status.twins).unwrap_or_default();
    if twins.is_empty() {
        report.refused.push(Problem::new(
            "reportedDevice.twins",
            "",
            "nothing is reported",
            "send one twin for each property",
        ));
    }
    for (index, twin) in twins.into_iter().enumerate() {
        let path = format_args!("reportedDevice.twins[{index}]");
        match device.property(&twin.property_name) {
            Some(property) => match twin_from_proto(&path, twin, property, now) {
                Ok(twin) => {
                    report.twins.push(twin);
                    report.places.push(index);
                }
                Err(problem) => report.refused.push(problem),
            },
            None => report.refused.push(unknown_property(&path, &twin.property_name, device)),
        }
    }
    report
}

type Path<'a> = std::fmt::Arguments<'a>;

fn unknown_property(path: &Path, name: &str, device: &Device) -> Problem {
    let known: Vec<_> = device.properties.iter().map(|property| property.name.as_str()).collect();
    Problem::new(
        format!("{path}.propertyName"),
        name,
        format!("not a property of {}", device.id),
        format!("report one of {}", known.join(", ")),
    )
}

fn twin_from_proto(
    path: &Path,
    twin: Twin,
    property: &Property,
    now: Timestamp,
) -> Result<TwinReport, Problem> {
    let observed = twin.observed_desired.map(|observed| observed.value);
    let Some(reported) = twin.reported else {
        return Err(Problem::new(
            format!("{path}.reported"),
            "",
            "missing",
            "send it, with an empty value where there is none",
        ));
    };
    let ack = ack(path, &reported.metadata)?;
    let ack_only = reported.metadata.get(words::ACK_ONLY).is_some_and(|word| word == "true");
    let reading = match ack_only {
        true => None,
        false => Some(reading(path, &reported, property.data_type, now)?),
    };
    Ok(TwinReport {
        property: property.name.clone(),
        reading,
        ack,
        observed: observed.filter(|text| !text.is_empty()),
    })
}

fn reading(
    path: &Path,
    reported: &TwinProperty,
    data_type: DataType,
    now: Timestamp,
) -> Result<Reading, Problem> {
    let metadata = &reported.metadata;
    let time = |key| metadata.get(key)?.parse().ok().map(Timestamp::from_millis);
    let quality =
        word(path, metadata, words::QUALITY, Quality::from_name, "good, uncertain or bad")?;
    let code = word(
        path,
        metadata,
        words::QUALITY_CODE,
        QualityCode::from_name,
        "a code such as ok or timeout",
    )?;
    let text_like = matches!(data_type, DataType::String | DataType::Bytes);
    let no_value = quality.is_none() && reported.value.is_empty() && !text_like;
    let quality = if no_value { Quality::Bad } else { quality.unwrap_or(Quality::Good) };
    let value = match quality {
        Quality::Bad => None,
        _ => Some(Value::parse(data_type, &reported.value).map_err(|error| {
            Problem::new(
                format!("{path}.reported.value"),
                &error.text,
                format!("not of type {data_type}"),
                format!("send {}", error.expected),
            )
        })?),
    };
    let code = match (quality, code) {
        (Quality::Bad, None | Some(QualityCode::Ok)) => QualityCode::NoData,
        (_, code) => code.unwrap_or(QualityCode::Ok),
    };
    Ok(Reading {
        value,
        quality,
        code,
        source_time: time(words::SOURCE_TIMESTAMP),
        sample_time: match reported.timestamp {
            0 => time(words::TIMESTAMP).unwrap_or(now),
            millis => Timestamp::from_millis(millis),
        },
    })
}

fn ack(path: &Path, metadata: &BTreeMap<String, String>) -> Result<Option<Ack>, Problem> {
    let code = |text: &str| text.parse().ok().and_then(AckCode::from_number);
    let code = word(path, metadata, words::ACK_CODE, code, "a code such as 200 or 500")?;
    let generation = |text: &str| text.parse().ok().map(Generation);
    let generation =
        word(path, metadata, words::ACK_VERSION, generation, "the version of the desired value")?;
    match (code, generation) {
        (Some(code), Some(generation)) => {
            let detail = metadata.get(words::ACK_DETAIL).cloned().unwrap_or_default();
            Ok(Some(Ack { generation, code, detail }))
        }
        (None, None) => Ok(None),
        (code, _) => {
            let missing = if code.is_none() { words::ACK_CODE } else { words::ACK_VERSION };
            Err(Problem::new(
                format!("{path}.reported.metadata.{missing}"),
                "",
                "missing",
                format!("send {} and {} together", words::ACK_CODE, words::ACK_VERSION),
            ))
        }
    }
}

/// One of our words; empty counts as absent.
fn word<T>(
    path: &Path,
    metadata: &BTreeMap<String, String>,
    key: &str,
    read: impl FnOnce(&str) -> Option<T>,
    expected: &str,
) -> Result<Option<T>, Problem> {
    let Some(text) = metadata.get(key).filter(|text| !text.is_empty()) else { return Ok(None) };
    read(text).map(Some).ok_or_else(|| {
        let shown: String = text.chars().take(64).collect();
        let field = format!("{path}.reported.metadata.{key}");
        Problem::new(field, shown, "unknown", format!("send {expected}"))
    })
}
