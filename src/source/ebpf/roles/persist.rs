//! The roles in the state file, and from it: the programs that count go with the process, what is known of their flows
//! stays.

use super::{Role, RoleTable};
use crate::source::ebpf::tuple::Tuple;
use crate::source::translation::Translation;
use crate::state::bytes::{In, Persist, persist};
use crate::wire::Malformed;

persist!(Tuple { local, remote, local_port, remote_port, protocol, flags, family; zero: 0 });
persist!(Translation { src, dst, backend, sport, dport, backend_port, opened_by_local });
persist!(Role { tuple, cgroup, last_ns, opened_by_local, replied, guessed, unknown, translation; mark: 0; found_at_dump: 0 });

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
mod tests;
