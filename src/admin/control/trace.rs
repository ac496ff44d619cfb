//! `pollux trace`: what all nodes know of a mail, as one story.

use serde_json::{Value, json};

use super::request::Failure;
use crate::admin::status::rfc3339;
use crate::mail::ids::Timestamp;
use crate::maillog::{Event, Query};

/// Octets of an answer's events; the newest are shown.
const ANSWER_BYTES_MAX: usize = 768 * 1024;
/// Octets of what is asked for (RFC 5321 4.5.3.1 has 320 for an address, RFC 5322 2.1.1 998 for a line).
const ABOUT_BYTES_MAX: usize = 998;

/// What was found, on which node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Traced {
    pub events: Vec<(String, Event)>,
    /// Nodes that did not answer: what they know is missing.
    pub silent: Vec<String>,
    /// There was more than an answer holds.
    pub more: bool,
}

pub fn query(about: String, since: Option<u64>) -> Result<Query, Failure> {
    if about.trim_matches(['<', '>', ' ']).is_empty() || about.len() > ABOUT_BYTES_MAX {
        return Err(Failure::refused("give a Message-ID, the id of a Received field, or an address"));
    }
    Ok(Query { about: Some(about), queued: Vec::new(), since: since.unwrap_or(0) })
}

/// Oldest first.
pub fn shown(mut traced: Traced) -> Value {
    // Stable: what one node saw in one moment stays in its order.
    traced.events.sort_by_key(|(_, event)| event.at);
    let (mut bytes, mut shown) = (0, Vec::new());
    for (node, event) in traced.events.iter().rev() {
        let mut value = json!(event);
        value["at"] = json!(rfc3339(Timestamp(event.at)));
        value["node"] = json!(node);
        bytes += value.to_string().len();
        if bytes > ANSWER_BYTES_MAX {
            traced.more = true;
            break;
        }
        shown.push(value);
    }
    shown.reverse();
    json!({ "events": shown, "silent": traced.silent, "more": traced.more })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::maillog::{Client, Refused, What};

    fn refused(at: u64, said: &str) -> Event {
        let (client, sender) = (Client::default(), "a@a.test".to_owned());
        Event { at, what: What::Refused(Refused { client, sender, recipient: None, said: said.to_owned() }) }
    }

    #[test]
    fn what_several_nodes_say_stands_in_the_order_of_time() {
        let events = [("node2", 5_000), ("node1", 1_000), ("node2", 1_000)];
        let events = events.map(|(node, at)| (node.to_owned(), refused(at, node))).to_vec();
        let traced = Traced { events, silent: vec!["node3".to_owned()], more: false };
        let value = shown(traced);
        let nodes: Vec<&str> =
            value["events"].as_array().unwrap().iter().map(|event| event["node"].as_str().unwrap()).collect();
        assert_eq!(nodes, ["node1", "node2", "node2"]);
        assert_eq!(value["events"][0]["at"], "1970-01-01T00:00:01Z");
        assert_eq!((&value["silent"], &value["more"]), (&json!(["node3"]), &json!(false)));
    }

    #[test]
    fn an_answer_holds_the_newest_and_says_that_there_is_more() {
        let events = (0..9).map(|at| ("node1".to_owned(), refused(at, &"x".repeat(100_000)))).collect();
        let value = shown(Traced { events, ..Traced::default() });
        let events = value["events"].as_array().unwrap();
        assert!(value["more"] == json!(true) && events.len() == 7, "{}", events.len());
        assert!(value.to_string().len() <= ANSWER_BYTES_MAX + 100);
        assert_eq!(shown(Traced::default()), json!({ "events": [], "silent": [], "more": false }));
    }

    #[test]
    fn what_is_asked_for_has_bounds() {
        for about in ["", " ", "<>"] {
            assert!(query(about.to_owned(), None).is_err(), "{about:?}");
        }
        assert!(query("a".repeat(ABOUT_BYTES_MAX), None).is_ok());
        assert!(query("a".repeat(ABOUT_BYTES_MAX + 1), None).is_err());
    }
}
