//! One Device as a cloud sent it: what it says, and the number of each desired value in it.

use std::collections::BTreeMap;

use device_model::{Device, DeviceInstance, PropertyName};
use device_twin::{Desire, DesireProperty, Given, Writer};
use edge_link::{Look, Uid};
use serde_json::Value as Json;

/// Where a cloud of ours says the numbers of desired values, and this node keeps those that it gave itself.
const NUMBERS: &str = "edgetwin.io/desired-versions";

/// A Device.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Body {
    pub(super) instance: DeviceInstance,
    pub(super) uid: Uid,
    /// `metadata.generation`, and the number of what is not desired any more.
    generation: u64,
    /// By property.
    numbers: BTreeMap<String, u64>,
}

impl Body {
    /// Reads `object`, which took the place of `former`, and writes the numbers of its desired values into it, so that
    /// it is read back with the same ones.
    ///
    /// A cloud of ours says the numbers. KubeEdge's says none: a text that changed takes the generation's. In no case
    /// has a text that changed the number of the one before it.
    ///
    /// # Errors
    /// It is no Device; the text names the member.
    pub(super) fn read(object: &mut Json, former: Option<&Self>) -> Result<Self, String> {
        let instance: DeviceInstance = serde_path_to_error::deserialize(&*object)
            .map_err(|error| format!("{}: {}", error.path(), error.inner()))?;
        let look = Look::at(object);
        let uid = look.uid.ok_or("metadata.uid is missing")?;
        let generation = look.version.and_then(|version| version.generation).unwrap_or(0);
        let annotation = object["metadata"]["annotations"][NUMBERS].as_str();
        let given: BTreeMap<String, u64> =
            annotation.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        let former = former.filter(|former| former.uid == uid);
        let mut numbers = BTreeMap::new();
        for (name, text) in texts(&instance) {
            let before = former.map(|former| (former.text(name), former.number(name)));
            let number = match (given.get(name).copied(), before) {
                (Some(given), Some((before, known))) if before != Some(text) && given <= known => {
                    generation.max(known + 1)
                }
                (Some(given), _) => given,
                (None, Some((before, known))) if before == Some(text) => known,
                (None, Some((_, known))) => generation.max(known + 1),
                (None, None) => generation,
            };
            numbers.insert(name.to_owned(), number);
        }
        if !numbers.is_empty() && numbers != given {
            let text = serde_json::to_string(&numbers).unwrap_or_default();
            let annotations = &mut object["metadata"]["annotations"];
            if !annotations.is_object() {
                *annotations = Json::Object(serde_json::Map::new());
            }
            annotations[NUMBERS] = text.into();
        }
        Ok(Self { instance, uid, generation, numbers })
    }

    /// What the cloud wants of `device`, which this was resolved to, as far as it is not what `former` wanted: one wish
    /// a property, so that none falls with another.
    pub(super) fn wishes(&self, device: &Device, former: Option<&Self>) -> Vec<Desire> {
        let former = former.filter(|former| former.uid == self.uid);
        let is_news = |name: &str| {
            former.is_none_or(|former| {
                former.text(name) != self.text(name) || former.number(name) != self.number(name)
            })
        };
        let properties = device.properties.iter();
        let writable =
            properties.filter(|property| property.access == device_model::Access::ReadWrite);
        let news = writable.filter(|property| is_news(property.name.as_str()));
        let wish = |property: &std::sync::Arc<device_model::Property>| {
            let value = property.desired.as_ref().map(|desired| desired.value.clone());
            self.wish(device, &property.name, value.map(Given::Value))
        };
        news.map(wish).collect()
    }

    fn wish(&self, device: &Device, property: &PropertyName, value: Option<Given>) -> Desire {
        let cloud_version = Some(self.number(property.as_str()));
        let one = DesireProperty { cloud_version, ..DesireProperty::of(property.as_str(), value) };
        let mut desire = Desire::of(device.id.clone(), Writer::Cloud);
        desire.properties.push(one);
        desire
    }

    fn text(&self, name: &str) -> Option<&str> {
        texts(&self.instance).find(|(known, _)| *known == name).map(|(_, text)| text)
    }

    fn number(&self, name: &str) -> u64 {
        self.numbers.get(name).copied().unwrap_or(self.generation)
    }
}

/// What is desired of which property. KubeEdge's tools write an empty text where nothing is.
fn texts(instance: &DeviceInstance) -> impl Iterator<Item = (&str, &str)> {
    let properties = instance.spec.properties.iter();
    properties.filter_map(|property| {
        let text = property.desired.as_ref()?.value.as_str();
        (!text.is_empty()).then_some((property.name.as_str(), text))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(generation: u64, speed: &str, numbers: Option<&str>) -> Json {
        let mut object = json!({
            "metadata": {"name": "pump", "uid": "a", "resourceVersion": "7", "generation": generation},
            "spec": {"properties": [{"name": "speed", "desired": {"value": speed}}]},
        });
        if let Some(numbers) = numbers {
            object["metadata"]["annotations"][NUMBERS] = numbers.into();
        }
        object
    }

    fn read(mut object: Json, former: Option<&Body>) -> Body {
        let body = Body::read(&mut object, former).unwrap();
        // As it is kept.
        assert_eq!(Body::read(&mut object, None).unwrap(), body);
        body
    }

    #[test]
    fn a_cloud_of_ours_says_the_numbers_and_another_ones_are_the_generations() {
        assert_eq!(read(object(3, "5", Some("{\"speed\":2}")), None).number("speed"), 2);
        let first = read(object(3, "5", None), None);
        assert_eq!(first.number("speed"), 3);
        let other = read(object(4, "5", None), Some(&first));
        assert_eq!(other.number("speed"), 3, "something else changed");
        assert_eq!(read(object(5, "6", None), Some(&other)).number("speed"), 5);
    }

    #[test]
    fn a_text_that_changed_never_has_the_number_of_the_one_before() {
        let first = read(object(3, "5", Some("{\"speed\":3}")), None);
        let gone = read(object(4, "", None), Some(&first));
        assert_eq!(gone.number("speed"), 4);
        // The cloud forgot that it was gone in between.
        let back = read(object(5, "5", Some("{\"speed\":3}")), Some(&gone));
        assert_eq!(back.number("speed"), 5);
        let without = read(object(0, "6", None), Some(&back));
        assert_eq!(without.number("speed"), 6, "an API server without generations");
    }

    #[test]
    fn another_life_begins_with_its_own_numbers_and_nonsense_is_none() {
        let first = read(object(9, "5", None), None);
        let mut made_again = object(1, "6", Some("[7"));
        made_again["metadata"]["uid"] = "b".into();
        assert_eq!(read(made_again, Some(&first)).number("speed"), 1);
        let mut wrong = json!({"metadata": {"name": 7}});
        assert!(Body::read(&mut wrong, None).unwrap_err().starts_with("metadata.name: "));
    }
}
