use proptest::prelude::*;

use super::*;

#[derive(Clone, Copy)]
struct Number(u16, u32);

impl Entry for Number {
    type Key = u16;
    fn key(&self) -> &u16 {
        &self.0
    }
    fn mark(&self) -> u32 {
        self.1
    }
    fn set_mark(&mut self, mark: u32) {
        self.1 = mark;
    }
}

proptest! {
    /// Any order of inserts, renewals and removals leaves the ages of a plain list.
    #[test]
    fn ages_are_those_of_a_list(steps in prop::collection::vec((0u16..12, 0u8..3), 0..200)) {
        let mut aged = Aged::with_capacity(8);
        let mut model: Vec<u16> = Vec::new();
        for (key, step) in steps {
            match (step, aged.find(&key)) {
                (0, None) if !aged.is_full() => {
                    aged.insert(Number(key, 0)).expect("there is room");
                    model.push(key);
                }
                (1, Some(slot)) => {
                    aged.renew(slot);
                    model.retain(|k| *k != key);
                    model.push(key);
                }
                (2, Some(slot)) => {
                    aged.remove(slot);
                    model.retain(|k| *k != key);
                }
                _ => {}
            }
            let oldest = aged.oldest().and_then(|slot| aged.get(slot)).map(|n| n.0);
            prop_assert_eq!(oldest, model.first().copied());
            prop_assert_eq!(aged.len() as usize, model.len());
        }
        prop_assert_eq!(aged.by_age().map(|n| n.0).collect::<Vec<_>>(), model.clone());
        let mut order = Vec::new();
        while let Some(slot) = aged.oldest() {
            order.push(aged.remove(slot).expect("it is there").0);
        }
        prop_assert_eq!(order, model);
    }
}
