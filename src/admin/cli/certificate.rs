//! `pollux certificate`: what the mail services show.

use std::path::Path;

use serde_json::Value;

use super::arguments::CertificateCommand;
use super::{Problem, ask, print};
use crate::admin::control::certificate::WantedCertificate;
use crate::admin::control::client;
use crate::admin::control::request::Request;

/// `own`: this box has files of its own.
pub fn run(socket: &Path, command: CertificateCommand, own: bool) -> Result<(), Problem> {
    let ask = |request| client::ask(socket, request).map_err(|failure| failure.to_string());
    let read = |file: &Path| ask::read_bounded(file).map_err(|why| format!("{}: {why}", file.display()));
    let request = match command {
        CertificateCommand::Show { json } => {
            let shown = ask(Request::CertificateShow)?;
            print(&if json { format!("{shown:#}\n") } else { listing(&shown, own) });
            return Ok(());
        }
        CertificateCommand::Set { cert, key } => {
            let certificate = WantedCertificate { chain: read(&cert)?, private: read(&key)? };
            Request::CertificateSet { certificate }
        }
        CertificateCommand::Remove => Request::CertificateRemove,
        CertificateCommand::Renew { new_key } => Request::CertificateRenew { new_key },
    };
    print(&format!("{}\n", ask(request)?["done"].as_str().unwrap_or_default()));
    Ok(())
}

fn listing(shown: &Value, own: bool) -> String {
    let names = |of: &Value| {
        let names = of["names"].as_array().into_iter().flatten();
        names.filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
    };
    let mut lines = Vec::new();
    let known = &shown["certificate"];
    let text = |of: &Value, key: &str| of[key].as_str().unwrap_or("unknown").to_owned();
    if known.is_null() {
        let instead = if own { "those in pollux.toml are shown" } else { "no TLS is offered by this box" };
        lines.push(format!("the cluster has no certificate: {instead}"));
    } else {
        lines.push(format!("for       {}", names(known)));
        lines.push(format!("good      {} to {}", text(known, "begins"), text(known, "ends")));
        lines.push(format!("by        {}", text(known, "issuer")));
        if let Some(at) = known["renewed_at"].as_str() {
            lines.push(format!("renewed   from {at} on"));
        }
    }
    let acme = &shown["acme"];
    if !acme.is_null() {
        lines.push(format!("ordered   of {} for {}", text(acme, "directory"), names(acme)));
        let began = acme["order_began"].as_str();
        match (acme["failed"].as_str(), began) {
            (Some(why), Some(began)) => {
                let next = text(acme, "not_before");
                let again = "'pollux certificate renew' does not wait";
                lines.push(format!("failed    {began}: {why}; next try {next} ({again})"));
            }
            (None, Some(began)) => {
                lines.push(format!("order     under way since {began} by node {}", acme["order_by"]));
            }
            _ if acme["asked_for"].as_bool() == Some(true) => lines.push("order     asked for".to_owned()),
            _ => {}
        }
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn people_read_for_whom_it_is_and_what_hinders_the_next_one() {
        let nothing = json!({ "certificate": null, "acme": null });
        let told = "the cluster has no certificate: no TLS is offered by this box\n";
        assert_eq!(listing(&nothing, false), told);
        assert!(listing(&nothing, true).ends_with("those in pollux.toml are shown\n"));
        let certificate = json!({
            "names": ["mx.a.test", "a.test"], "issuer": "CN=CA", "begins": "2026-01-01T00:00:00Z",
            "ends": "2026-04-01T00:00:00Z", "from": "https://ca.test/d", "renewed_at": "2026-03-02T00:00:00Z",
        });
        let acme = json!({
            "directory": "https://ca.test/d", "names": ["mx.a.test"], "order_began": "2026-03-02T00:00:00Z",
            "order_by": 1, "failed": "no route", "failures": 1, "not_before": "2026-03-02T00:15:00Z",
            "asked_for": false,
        });
        let text = listing(&json!({ "certificate": certificate, "acme": acme }), false);
        assert_eq!(
            text,
            "for       mx.a.test, a.test\n\
             good      2026-01-01T00:00:00Z to 2026-04-01T00:00:00Z\n\
             by        CN=CA\n\
             renewed   from 2026-03-02T00:00:00Z on\n\
             ordered   of https://ca.test/d for mx.a.test\n\
             failed    2026-03-02T00:00:00Z: no route; next try 2026-03-02T00:15:00Z ('pollux certificate renew' does not wait)\n"
        );
        let mut acme = acme;
        acme["failed"] = Value::Null;
        let text = listing(&json!({ "certificate": null, "acme": acme }), false);
        assert!(text.ends_with("order     under way since 2026-03-02T00:00:00Z by node 1\n"), "{text}");
    }
}
