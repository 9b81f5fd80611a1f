//! A Device as an agent keeps it.

use device_model::Value;
use device_twin::{Command, Desire, DesireProperty, Writer};

use super::PROPERTIES;
use super::cloud::{Entry, Wants};
use super::edge::{DEFINED, NAMES};

/// What is desired, each with its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    pub life: u8,
    pub generation: u64,
    wants: Wants,
    numbers: [u64; PROPERTIES],
}

impl Body {
    /// The rule of the agent: in no case has a text that changed the number of the one before it.
    pub fn read(entry: &Entry, former: Option<&Self>) -> Self {
        let (life, generation) = (entry.device.life, entry.device.generation);
        let former = former.filter(|former| former.life == life);
        let number = |property: usize| {
            let given = entry.numbers[property].map(|(number, _)| number);
            let before = former.map(|former| (former.wants[property], former.numbers[property]));
            match (given, before) {
                (Some(given), Some((before, known)))
                    if before != entry.device.wants[property] && given <= known =>
                {
                    generation.max(known + 1)
                }
                (Some(given), _) => given,
                // Nothing is desired; that has the generation's number.
                (None, _) => generation,
            }
        };
        let numbers = std::array::from_fn(number);
        Self { life, generation, wants: entry.device.wants, numbers }
    }

    pub fn commands(&self, at: usize, former: Option<&Self>, adopted: bool) -> Vec<Command> {
        let former = former.filter(|former| former.life == self.life);
        let (id, lives) = &DEFINED[at];
        let device = lives[usize::from(self.life)].clone();
        let mut commands =
            vec![if adopted { Command::Adopt(device) } else { Command::Load(device) }];
        for (property, name) in NAMES.iter().enumerate() {
            let (value, number) = (self.wants[property], self.numbers[property]);
            let told = |one: &Self| one.wants[property] == value && one.numbers[property] == number;
            if former.is_some_and(told) {
                continue;
            }
            let value = value.map(|value| Value::Int(value.into()).into());
            let wish = DesireProperty::of(*name, value);
            let mut desire = Desire::of(id.clone(), Writer::Cloud);
            desire.properties = vec![DesireProperty { cloud_version: Some(number), ..wish }];
            commands.push(Command::Desire(desire));
        }
        commands
    }

    pub fn to_store(&self) -> Vec<u8> {
        let numbers = self.numbers.iter().zip(&self.wants);
        let words = numbers.map(|(number, want)| match want {
            Some(want) => format!("{number}={want}"),
            None => format!("{number}="),
        });
        let words: Vec<_> = words.collect();
        format!("{} {} {}", self.life, self.generation, words.join(" ")).into_bytes()
    }

    pub fn from_store(octets: &[u8]) -> Self {
        let mut words = std::str::from_utf8(octets).unwrap().split(' ');
        let life = words.next().unwrap().parse().unwrap();
        let generation = words.next().unwrap().parse().unwrap();
        let (mut wants, mut numbers) = (Wants::default(), [0; PROPERTIES]);
        for (property, word) in words.enumerate() {
            let (number, want) = word.split_once('=').unwrap();
            (numbers[property], wants[property]) = (number.parse().unwrap(), want.parse().ok());
        }
        Self { life, generation, wants, numbers }
    }
}
