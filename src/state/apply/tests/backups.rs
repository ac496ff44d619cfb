//! What is remembered of backups.

use super::*;
use crate::state::backups::{ID_BYTES_MAX, NoteBackup, last_backup};

fn made(of: u64, id: &str) -> Command {
    Command::NoteBackup(NoteBackup { of: Timestamp(of), by: NodeId(2), id: id.to_owned() })
}

#[test]
fn the_backup_of_the_latest_moment_is_remembered_whichever_was_noted_last() {
    let mut world = World::new();
    assert_eq!(last_backup(&world.rows).unwrap(), None);
    for (of, id, then) in [(20, "b", "b"), (10, "a", "b"), (30, "c", "c")] {
        world.done(made(of, id));
        assert_eq!(last_backup(&world.rows).unwrap().unwrap().id, then);
    }
    world.done(made(40, &"x".repeat(ID_BYTES_MAX)));
    for id in [String::new(), "x".repeat(ID_BYTES_MAX + 1), "a\nb".to_owned()] {
        assert!(matches!(world.refusal(made(50, &id)), Refusal::Invalid(_)));
    }
    assert_eq!(last_backup(&world.rows).unwrap().unwrap().of, Timestamp(40));
}
