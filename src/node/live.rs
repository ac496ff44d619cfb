//! One life of a node, from the cluster room up.

use crate::config::Config;

pub async fn live(_config: &Config) -> Result<(), String> {
    Err("the cluster room is not in this build".to_owned())
}
