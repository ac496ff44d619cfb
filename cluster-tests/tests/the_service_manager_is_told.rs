//! Under a service manager, as systemd is one, a node says when it is up, that it lives, and that it stops.

use std::cell::RefCell;
use std::os::unix::net::UnixDatagram;

use cluster_tests::cluster::Cluster;
use cluster_tests::wait::eventually;

/// The manager's end of each node's socket.
fn listen(name: &str, dir: &std::path::Path) -> (String, UnixDatagram, String) {
    let path = dir.with_extension("notify");
    let socket = UnixDatagram::bind(&path).expect("the path is free");
    socket.set_nonblocking(true).expect("it is ours");
    (name.to_owned(), socket, path.display().to_string())
}

/// The next words, none if there are none.
fn heard(manager: &UnixDatagram) -> Vec<String> {
    let (mut words, mut buffer) = (Vec::new(), [0; 64]);
    while let Ok(octets) = manager.recv(&mut buffer) {
        words.push(String::from_utf8_lossy(&buffer[..octets]).into_owned());
    }
    words
}

#[test]
fn the_service_manager_is_told() {
    let managers = RefCell::new(Vec::new());
    let cluster = Cluster::start_on(
        |_| {},
        |_, node| {
            let manager = listen(&node.name, &node.dir);
            node.environment.push(("NOTIFY_SOCKET".into(), manager.2.clone()));
            node.environment.push(("WATCHDOG_USEC".into(), "600000".into()));
            managers.borrow_mut().push(manager);
        },
    );
    let Some(mut cluster) = cluster else { return };
    for (at, (name, manager, _)) in managers.into_inner().iter().enumerate() {
        let mut words = Vec::new();
        eventually("the node is up and lives", || {
            words.extend(heard(manager));
            (words.iter().filter(|word| *word == "WATCHDOG=1").count() >= 3).then_some(())
        });
        assert_eq!(words[0], "READY=1", "{name}: first of all");
        assert_eq!(words.iter().filter(|word| *word == "READY=1").count(), 1, "{name}: once");

        cluster.nodes[at].stop();
        assert_eq!(heard(manager).last().map(String::as_str), Some("STOPPING=1"), "{name}: last of all");
        cluster.nodes[at].start();
        eventually("the node is up again", || heard(manager).contains(&"READY=1".to_owned()).then_some(()));
        cluster.wait_until_protected();
    }
}
