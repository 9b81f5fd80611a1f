//! What a device will cause on the wire, for people: each request, and each property in every notation.

use device_model::{Device, Property};
use serde::Serialize;

use crate::plan::{Request, plan};
use crate::raw::Raw;
use crate::visitor::Visitor;
use crate::{endpoint, keys};

/// The requests that reading a device takes.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Description {
    /// The device, `namespace/name`.
    pub device: String,
    /// The wire.
    pub endpoint: String,
    /// The unit id.
    pub unit: u8,
    /// In the order of the tables, then of the addresses.
    pub requests: Vec<RequestLine>,
    /// Properties that cannot be read, and why.
    pub problems: Vec<String>,
    /// Keys that nobody reads.
    pub unknown_keys: Vec<String>,
}

/// One read request.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestLine {
    /// Function code, 1 to 4.
    pub function: u8,
    /// `coil`, `discrete`, `input` or `holding`.
    pub table: String,
    /// First address on the wire, from 0.
    pub address: u16,
    /// How many registers or bits.
    pub count: u16,
    /// What they are read for.
    pub properties: Vec<PropertyLine>,
}

/// One property of a request.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PropertyLine {
    /// Name of the property.
    pub name: String,
    /// Address on the wire, from 0: what `offset` means unless `addressBase` is 1.
    pub wire: u16,
    /// The same, counted from 1.
    pub from_one: u32,
    /// The same as data sheets write it, such as 40101.
    pub data_sheet: String,
    /// The wire address in hexadecimal.
    pub hex: String,
    /// How many registers or bits.
    pub width: u16,
    /// What they hold, and in which byte order: `u32 CDAB`.
    pub holds: String,
    /// Where it is written and with which function, if it is: `6 at holding:5`.
    pub written: Option<String>,
}

/// Describes the requests that reading all of `device` takes.
///
/// # Errors
/// What is wrong with `protocol.configData`: then there is no unit to ask.
pub fn describe(device: &Device) -> Result<Description, Vec<device_model::Problem>> {
    let (endpoint, unit) = endpoint::address(device)?;
    let (mut properties, mut visitors, mut problems) = (Vec::new(), Vec::new(), Vec::new());
    for property in device.properties.iter().map(|property| &**property) {
        match Visitor::read(device, property) {
            Ok(visitor) => {
                properties.push(property);
                visitors.push(visitor);
            }
            Err(problem) => problems.push(problem.to_string()),
        }
    }
    let requests = plan(&unit.limits, &[], &visitors.iter().collect::<Vec<_>>());
    Ok(Description {
        device: device.id.to_string(),
        endpoint: endpoint.to_string(),
        unit: unit.id,
        requests: requests.iter().map(|one| request(one, &properties, &visitors)).collect(),
        problems,
        unknown_keys: keys::unknown(device),
    })
}

fn request(request: &Request, properties: &[&Property], visitors: &[Visitor]) -> RequestLine {
    let table = request.span.start.table;
    RequestLine {
        function: table.read_function(),
        table: table.word().into(),
        address: request.span.start.address,
        count: request.span.count,
        properties: request
            .members
            .iter()
            .map(|index| line(properties[*index], &visitors[*index]))
            .collect(),
    }
}

fn line(property: &Property, visitor: &Visitor) -> PropertyLine {
    let address = visitor.read.address;
    PropertyLine {
        name: property.name.to_string(),
        wire: address,
        from_one: u32::from(address) + 1,
        data_sheet: visitor.read.table.data_sheet_address(address),
        hex: format!("0x{address:04X}"),
        width: visitor.width,
        holds: holds(&visitor.raw),
        written: visitor.write.map(|place| format!("{} at {place}", visitor.write_function())),
    }
}

fn holds(raw: &Raw) -> String {
    match raw {
        Raw::Row => "bit".into(),
        Raw::Number { number, order } => format!("{} {order}", number.name()),
        Raw::Field { first, bits: 1, .. } => format!("bit {first}"),
        Raw::Field { first, bits, signed, .. } => {
            let sign = if *signed { "signed " } else { "" };
            format!("{sign}bits {first} to {}", first + bits - 1)
        }
        Raw::Octets { text: true, .. } => "string".into(),
        Raw::Octets { text: false, .. } => "bytes".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::device;

    #[test]
    fn a_property_is_shown_in_every_notation() {
        let visitor = "{address: \"40101\", limit: 2, order: CDAB, writeOffset: 9}";
        let device = device("{ip: 192.0.2.10, slaveID: 3, portt: 1}", "INT", "ReadWrite", visitor);
        let description = describe(&device).unwrap();
        assert_eq!(description.endpoint, "tcp://192.0.2.10:502");
        assert_eq!(
            description.unknown_keys,
            ["spec.protocol.configData.portt (did you mean port?)"]
        );
        let [request] = description.requests.as_slice() else { panic!("one request") };
        assert_eq!((request.function, request.address, request.count), (3, 100, 2));
        assert_eq!(
            request.properties,
            [PropertyLine {
                name: "it".into(),
                wire: 100,
                from_one: 101,
                data_sheet: "40101".into(),
                hex: "0x0064".into(),
                width: 2,
                holds: "u32 CDAB".into(),
                written: Some("16 at holding:9".into()),
            }]
        );
    }

    #[test]
    fn a_property_that_cannot_be_read_is_a_problem_and_not_the_end() {
        let description =
            describe(&device("{ip: h}", "INT", "ReadOnly", "{register: holding}")).unwrap();
        assert!(description.requests.is_empty());
        assert!(description.problems[0].contains("offset: missing"), "{description:?}");
    }
}
