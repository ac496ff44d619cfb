//! Boxes are lost for good, one after the other, right after the other was away: what replaces them is let in only when
//! nothing is lost by it, and a new node serves only when it knows its users.

use cluster_tests::nemesis::{self, Fault, Plan, Step, Target};

#[test]
fn replaced_boxes() {
    let step = |fault| Step { faults: vec![fault], hold_ms: 1_500, early: false };
    let steps = [
        Fault::Stop(Target::Leader),
        Fault::Replace(Target::Leader),
        Fault::Kill(Target::Follower),
        Fault::Replace(Target::Leader),
        Fault::Isolate(Target::Follower),
        Fault::Replace(Target::Follower),
        Fault::Replace(Target::Witness),
    ];
    nemesis::run(&Plan { seed: 33, steps: steps.map(step).into() });
}
