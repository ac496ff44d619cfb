//! docs/metrics.md, written from the table.

use super::table::{Metric, TABLE};

/// The whole document.
pub fn markdown() -> String {
    let mut text = String::from(
        "# Metrics\n\n\
         A node listens for those that watch over it where `metrics.address` in its pollux.toml says, and nowhere without it:\n\
         whoever may connect may read, without a login, so that the address is yours to choose (`127.0.0.1:9154`, or one of a\n\
         network of your own). Plain HTTP; a witness has it too.\n\n\
         | path | answers |\n|---|---|\n\
         | `/metrics` | what follows, in the text format of Prometheus |\n\
         | `/healthz` | 200 while replication runs and the disk answers, else 503: restart it |\n\
         | `/readyz` | 200 while the mail ports are open, a majority has a leader and what it committed is applied here, else 503: send clients elsewhere |\n\n\
         `/healthz` and `/readyz` answer with JSON, `{\"ready\":false,\"because\":[\"…\"]}`. A node that is healthy and not ready needs\n\
         no restart: it serves what it has for reading.\n\n\
         Each node counts for itself, from 0 at its start. No label has a user, a host or an address in it. This table is written\n\
         from the one in `src/admin/metrics/table.rs`.\n\n\
         | metric | type | labels | what it tells |\n|---|---|---|---|\n",
    );
    TABLE.iter().for_each(|metric| text.push_str(&row(metric)));
    text
}

fn row(metric: &Metric) -> String {
    let Metric { name, kind, labels, help, .. } = metric;
    let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
    format!("| `{name}` | {} | {} | {help} |\n", kind.word(), labels.join(", "))
}
