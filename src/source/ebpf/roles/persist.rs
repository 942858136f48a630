//! The roles in the state file, and from it: the programs that count go with the process, what is known of their flows
//! stays.

use super::{Role, RoleTable};
use crate::source::ebpf::tuple::Tuple;
use crate::source::translation::Translation;
use crate::state::bytes::{In, Persist, persist};
use crate::wire::Malformed;

persist!(Tuple { local, remote, local_port, remote_port, protocol, flags, family; zero: 0 });
persist!(Translation { src, dst, backend, sport, dport, backend_port, opened_by_local });
persist!(Role { tuple, cgroup, last_ns, opened_by_local, replied, guessed, unknown, translation; mark: 0 });

impl RoleTable {
    /// Appends every role, the one that was idle longest first.
    pub fn persist(&self, out: &mut Vec<u8>) {
        self.len().put(out);
        for role in self.table.by_age() {
            role.put(out);
        }
    }

    /// Takes over the roles of the process before, into a table that is still empty; of too many, those that were in
    /// use last.
    ///
    /// # Errors
    /// When the bytes cannot be what [`RoleTable::persist`] wrote; then none is taken over.
    pub fn restore(&mut self, from: &mut In<'_>) -> Result<(), Malformed> {
        let restored = self.try_restore(from);
        if restored.is_err() {
            *self = RoleTable::new(self.table.capacity(), self.attached_ns);
        }
        restored
    }

    fn try_restore(&mut self, from: &mut In<'_>) -> Result<(), Malformed> {
        let count = u32::take(from)?;
        let surplus = count.saturating_sub(self.table.capacity());
        for at in 0..count {
            let role = Role::take(from)?;
            if at < surplus {
                continue;
            }
            if self.table.find(&role.tuple).is_some() {
                return Err(Malformed);
            }
            self.table.insert(role).map_err(|_| Malformed)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::Addr;
    use crate::source::ebpf::tuple::Counted;

    fn tuple(local_port: u16) -> Tuple {
        let (local, remote) = (Addr::from_v4([10, 0, 0, 1]), Addr::from_v4([10, 0, 0, 2]));
        Tuple { local, remote, local_port, remote_port: 443, protocol: 6, flags: 0, family: 4, zero: 0 }
    }

    #[test]
    fn roles_outlive_the_process_and_the_idlest_go_first() {
        let mut roles = RoleTable::new(4, 0);
        for port in [1, 2, 3, 1] {
            roles.settle(&tuple(port), &Counted { opened_by_remote: true, cgroup: 7, ..Counted::default() }, 100);
        }
        let mut out = Vec::new();
        roles.persist(&mut out);
        let mut next = RoleTable::new(2, 0);
        next.restore(&mut In(&out)).expect("as it was saved");
        assert_eq!(next.len(), 2);
        assert!(next.table.find(&tuple(2)).is_none(), "it was idle longest");
        let role = next.settle(&tuple(1), &Counted::default(), 200).role;
        assert!(!role.opened_by_local && role.cgroup == 7);
        next.settle(&tuple(9), &Counted::default(), 300);
        assert!(next.table.find(&tuple(3)).is_none() && next.table.find(&tuple(1)).is_some());
        assert_eq!(RoleTable::new(2, 0).restore(&mut In(&out[..out.len() - 1])), Err(Malformed));
    }
}
