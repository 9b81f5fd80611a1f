use device_model::DataType;
use proptest::prelude::*;

use super::*;
use crate::raw::Raw;
use crate::scale::Scale;

/// A visitor of `width` at `address`; what it holds does not matter here.
fn at(table: Table, address: u16, width: u16) -> Visitor {
    Visitor {
        read: Place { table, address },
        write: None,
        width,
        raw: Raw::Octets { text: false, swap_bytes: false, swap_registers: false },
        scale: Scale::Identity,
        data_type: DataType::Bytes,
        invalid: Vec::new(),
        multiple: false,
    }
}

/// Addresses and counts of the requests for visitors of the holding table.
fn spans(limits: &Limits, visitors: &[(u16, u16)]) -> Vec<(u16, u16)> {
    let visitors: Vec<_> = visitors
        .iter()
        .map(|(address, width)| at(Table::HoldingRegisters, *address, *width))
        .collect();
    plan(limits, &[], &visitors.iter().collect::<Vec<_>>())
        .iter()
        .map(|request| (request.span.start.address, request.span.count))
        .collect()
}

#[test]
fn neighbours_share_a_request_in_any_order() {
    let limits = Limits::default();
    assert_eq!(spans(&limits, &[(4, 2), (0, 2), (2, 2)]), [(0, 6)]);
    assert_eq!(spans(&limits, &[(0, 2), (1, 1), (0, 4)]), [(0, 4)]);
    assert_eq!(spans(&limits, &[(0, 2), (3, 1)]), [(0, 2), (3, 1)]);
}

#[test]
fn a_gap_is_read_over_as_far_as_max_fill_says() {
    let holes = [(0, 2), (10, 2), (61, 1)];
    assert_eq!(spans(&Limits::default(), &holes), [(0, 2), (10, 2), (61, 1)]);
    let limits = Limits { max_fill: 8, ..Limits::default() };
    assert_eq!(spans(&limits, &holes), [(0, 12), (61, 1)]);
    let limits = Limits { max_fill: 50, ..Limits::default() };
    assert_eq!(spans(&limits, &holes), [(0, 62)]);
}

#[test]
fn a_cap_splits_between_values_and_never_within_one() {
    let limits = Limits { max_words: 5, ..Limits::default() };
    assert_eq!(spans(&limits, &[(0, 2), (2, 2), (4, 2), (6, 1)]), [(0, 4), (4, 3)]);
    let limits = Limits { max_words: 1, ..Limits::default() };
    assert_eq!(spans(&limits, &[(0, 1), (1, 1)]), [(0, 1), (1, 1)]);
    let whole: Vec<_> = (0..250).map(|address| (address, 1)).collect();
    assert_eq!(spans(&Limits::default(), &whole), [(0, 125), (125, 125)]);
}

#[test]
fn forbidden_ranges_and_borders_are_not_crossed() {
    let hole = |start, end| Hole { table: Table::HoldingRegisters, start, end };
    let limits = |forbidden| Limits { max_fill: 125, forbidden, ..Limits::default() };
    assert_eq!(spans(&limits(vec![hole(4, 6)]), &[(0, 4), (6, 2)]), [(0, 4), (6, 2)]);
    assert_eq!(spans(&limits(vec![hole(4, 4)]), &[(0, 4), (4, 2)]), [(0, 4), (4, 2)]);
    assert_eq!(spans(&limits(vec![hole(6, 6)]), &[(0, 4), (4, 2)]), [(0, 6)]);
    let other = Hole { table: Table::InputRegisters, start: 4, end: 6 };
    assert_eq!(spans(&limits(vec![other]), &[(0, 4), (6, 2)]), [(0, 8)]);
}

#[test]
fn the_last_address_can_be_read() {
    assert_eq!(spans(&Limits::default(), &[(65_535, 1), (65_534, 1)]), [(65_534, 2)]);
}

fn any_visitors() -> impl Strategy<Value = Vec<Visitor>> {
    let table = prop::sample::select(Table::ALL.to_vec());
    let visitor = (table, 0u16..300, 1u16..8).prop_map(|(table, at_, width)| at(table, at_, width));
    prop::collection::vec(visitor, 0..60)
}

fn any_limits() -> impl Strategy<Value = Limits> {
    let hole = (prop::sample::select(Table::ALL.to_vec()), 0u32..300, 0u32..10)
        .prop_map(|(table, start, length)| Hole { table, start, end: start + length });
    (8u16..=125, 8u16..=2000, 0u16..60, prop::collection::vec(hole, 0..5)).prop_map(
        |(max_words, max_bits, max_fill, forbidden)| Limits {
            max_words,
            max_bits,
            max_fill,
            forbidden,
        },
    )
}

proptest! {
    #[test]
    fn the_plan_keeps_every_promise(visitors in any_visitors(), limits in any_limits()) {
        let visitors: Vec<&Visitor> = visitors.iter().collect();
        let requests = plan(&limits, &[], &visitors);
        let mut served: Vec<usize> = requests.iter().flat_map(|r| r.members.clone()).collect();
        served.sort_unstable();
        prop_assert_eq!(served, (0..visitors.len()).collect::<Vec<_>>(), "each visitor once");
        for request in &requests {
            let span = request.span;
            let members = || request.members.iter().map(|index| visitors[*index]);
            prop_assert_eq!(Span::over(members()), Some(span), "no more than asked for at the ends");
            prop_assert!(span.count <= limits.cap(span.start.table), "within the cap");
            let mut covered = u32::from(span.start.address);
            for visitor in members() {
                let gap = u32::from(visitor.read.address).saturating_sub(covered);
                prop_assert!(gap <= u32::from(limits.max_fill), "gap {gap}");
                covered = covered.max(visitor.end());
            }
            let hurt = limits.forbidden.iter().any(|hole| {
                hole.hurts(span.start.table, span.start.address.into(), span.end())
            });
            prop_assert!(!hurt || request.members.len() == 1, "no hole is crossed by merging");
        }
    }
}
