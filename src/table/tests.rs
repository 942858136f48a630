use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Copy)]
struct Pair {
    key: u16,
    mark: u32,
    value: u32,
}

entry!(Pair { key: u16 });

#[test]
fn a_full_table_says_so_and_stays_as_it_was() {
    let mut table = Table::with_capacity(2);
    for key in 0..2 {
        table.insert(Pair { key, mark: 0, value: 7 }).expect("there is room");
    }
    assert_eq!(table.insert(Pair { key: 9, mark: 0, value: 1 }), Err(Full));
    assert_eq!(table.len(), 2);
    assert!(table.find(&9).is_none());
}

/// Through every doubling of the cells in use, with gaps from removals on the way.
#[test]
fn entries_stay_where_they_are_while_more_cells_are_used() {
    let mut table = Table::with_capacity(20_000);
    let mut slots = HashMap::new();
    for key in 0..20_000u16 {
        let slot = table.insert(Pair { key, mark: 0, value: u32::from(key) * 3 }).expect("there is room");
        slots.insert(key, slot);
        if key % 3 == 2 {
            let gone = key / 2;
            if let Some(removed) = slots.remove(&gone).and_then(|slot| table.remove(slot)) {
                assert_eq!(removed.value, u32::from(gone) * 3);
            }
        }
        if key.is_power_of_two() || key % 4_999 == 0 {
            for key in 0..=key {
                assert_eq!(table.find(&key), slots.get(&key).copied(), "{key}");
            }
        }
    }
    assert!(table.last_cell + 1 > FIRST_CELLS * 8 && table.len() as usize == slots.len());
    assert!(slots.iter().all(|(key, slot)| table.get(*slot).is_some_and(|pair| pair.key == *key)));
}

/// What few entries touch of the index is little, however many the table may hold.
#[test]
fn few_entries_use_few_cells() {
    let mut table = Table::with_capacity(1 << 20);
    for key in 0..500 {
        table.insert(Pair { key, mark: 0, value: 0 }).expect("there is room");
    }
    assert!(table.index[FIRST_CELLS..].iter().all(|cell| *cell == 0));
}

proptest! {
    /// Any order of inserts and removals leaves the table equal to the standard map, with slots that stay.
    #[test]
    fn it_is_a_map(steps in proptest::collection::vec((0u16..40, any::<bool>(), any::<u32>()), 0..400)) {
        let mut table = Table::with_capacity(24);
        let mut model: HashMap<u16, (u32, u32)> = HashMap::new();
        for (key, insert, value) in steps {
            match (insert, table.find(&key)) {
                (true, None) => match table.insert(Pair { key, mark: 0, value }) {
                    Ok(slot) => { model.insert(key, (slot, value)); }
                    Err(Full) => prop_assert_eq!(model.len(), 24),
                },
                (false, Some(slot)) => {
                    let removed = table.remove(slot).expect("it was just found");
                    prop_assert_eq!(model.remove(&key), Some((slot, removed.value)));
                }
                _ => {}
            }
            prop_assert_eq!(table.len() as usize, model.len());
            for key in 0..40 {
                let found = table.find(&key).map(|slot| (slot, table.get(slot).expect("found").value));
                prop_assert_eq!(found, model.get(&key).copied());
            }
        }
        prop_assert_eq!(table.iter().count(), model.len());
    }
}
