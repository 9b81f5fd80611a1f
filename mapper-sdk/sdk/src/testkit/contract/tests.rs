use super::*;
use crate::fake::{Fake, device, manifests};

struct FakeRig {
    fake: Fake,
}

impl FakeRig {
    fn new() -> Self {
        let fake = Fake::new();
        for (name, value) in [("a", 1), ("b", 2)] {
            fake.set(1, name, value);
            fake.set(2, name, value * 10);
        }
        Self { fake }
    }
}

impl Rig for FakeRig {
    type Driver = Fake;

    fn driver(&self) -> &Fake {
        &self.fake
    }

    fn device(&self) -> Device {
        device(&manifests("pump", "line", 1, &[("a", "", ""), ("b", "", "")]))
    }

    fn refused(&self) -> Device {
        device(&manifests("pump", "line", 1, &[("none", "", "")]))
    }

    fn neighbour(&self) -> Option<Device> {
        Some(device(&manifests("fan", "line", 2, &[("a", "", ""), ("b", "", "")])))
    }

    async fn value(&self, property: &Property) -> Value {
        self.fake.get(1, property.name.as_str()).unwrap()
    }

    async fn change(&mut self, property: &Property, value: &Value) {
        self.fake.plant().values.insert((1, property.name.to_string()), value.clone());
    }

    async fn silence(&mut self, silent: bool) {
        self.fake.plant().silent = silent.then_some(1).into_iter().collect();
    }

    async fn cut(&mut self) {
        self.fake.plant().cut = true;
    }

    async fn delay_one(&mut self) {
        self.fake.plant().delay_one = true;
    }
}

#[tokio::test(start_paused = true)]
async fn a_good_driver_keeps_the_contract() {
    keeps_the_contract(&mut FakeRig::new()).await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "where 2 was expected")]
async fn a_driver_that_takes_a_late_answer_for_the_next_is_found_out() {
    let mut rig = FakeRig::new();
    rig.fake.plant().sloppy = true;
    a_late_answer_is_never_taken_for_the_next(&mut rig).await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "a write of 2")]
async fn a_device_that_refuses_writes_is_found_out() {
    let mut rig = FakeRig::new();
    rig.fake.plant().refused.insert("a".into());
    writes_and_reads_back(&mut rig).await;
}
