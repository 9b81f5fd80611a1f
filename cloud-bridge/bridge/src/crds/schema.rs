//! From the schemas that our libraries make of types to those that KubeEdge's generator makes: they accept the same objects.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps, JSONSchemaPropsOrArray,
};
use schemars::{Schema, SchemaGenerator, json_schema};

/// An object of any content: `configData` and the like.
pub(super) fn anything(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}

/// A whole number of no certain size.
pub(super) fn integer(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "integer"})
}

/// Absent is absent: nothing is nullable or has a default, but for the name in a reference, and `spec` may be left out.
pub(super) fn plain(crd: &mut CustomResourceDefinition) {
    crd.spec.names.list_kind.get_or_insert_with(|| format!("{}List", crd.spec.names.kind));
    let devices = crd.spec.group == "devices.kubeedge.io";
    for version in &mut crd.spec.versions {
        if devices {
            // There the status is written with the rest of the object.
            version.subresources = None;
        }
        let Some(schema) =
            version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut())
        else {
            continue;
        };
        schema.required = None;
        // The API server has its own, and takes no others.
        schema.properties.get_or_insert_default().insert(
            "metadata".into(),
            JSONSchemaProps { type_: Some("object".into()), ..JSONSchemaProps::default() },
        );
        for name in ["apiVersion", "kind"] {
            let word =
                JSONSchemaProps { type_: Some("string".into()), ..JSONSchemaProps::default() };
            schema.properties.get_or_insert_default().insert(name.into(), word);
        }
        strip("", schema);
    }
}

/// Where a default stands: KubeEdge's reference is Kubernetes' own `LocalObjectReference`.
const DEFAULTED: &str = ".spec.deviceModelRef.name";

fn strip(path: &str, schema: &mut JSONSchemaProps) {
    schema.title = None;
    schema.nullable = None;
    if let Some(words) = &mut schema.enum_ {
        words.retain(|word| !word.0.is_null());
    }
    schema.default = (path == DEFAULTED).then(|| JSON("".into()));
    for (name, property) in schema.properties.iter_mut().flatten() {
        strip(&format!("{path}.{name}"), property);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        strip(&format!("{path}[]"), items);
    }
}
