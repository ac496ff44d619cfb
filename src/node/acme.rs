//! The certificate is ordered by the data node that leads: `certificate/`, which knows nothing of Raft, bound to the cluster.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use crate::certificate::due::{Reason, due};
use crate::certificate::order::{Order, Proof};
use crate::certificate::web::{Answer, Asked, Web};
use crate::cluster::handle::ClusterHandle;
use crate::cluster::replica::Replica;
use crate::delivery::https::Question;
use crate::dns::{self, Resolver};
use crate::state::certificate::{AcmeStep, AcmeWhat, Renewal};
use crate::state::command::Command;
use crate::state::directory::Directory;
use crate::state::outcome::Outcome;
use crate::state::settings::{AcmeChallenge, AcmeTerms, ListenerName};

/// Between two looks at whether a certificate will end.
const LOOK_EACH: Duration = Duration::from_secs(10);
/// An order, from its beginning to its end.
const ORDER_MAX: Duration = Duration::from_secs(900);
/// To note a step.
const NOTE_MAX: Duration = Duration::from_secs(30);

/// As long as the node lives. `hook`: the operator's program for the DNS.
pub(crate) async fn follow(cluster: ClusterHandle, hook: Option<PathBuf>) {
    let web = Arc::new(Servers {
        dns: Resolver::new(cluster.watch_directory(), dns::Bounds::default()),
        cluster: cluster.clone(),
    });
    let clerk = Clerk { cluster: cluster.clone(), hook, web };
    let mut directory = cluster.watch_directory();
    loop {
        cluster.leading_is(true).await;
        tokio::select! {
            // Whoever leads next begins anew.
            () = cluster.leading_is(false) => continue,
            () = clerk.look() => {}
        }
        tokio::select! {
            () = cluster.leading_is(false) => {}
            _ = directory.changed() => {}
            () = sleep(LOOK_EACH) => {}
        }
    }
}

struct Clerk {
    cluster: ClusterHandle,
    hook: Option<PathBuf>,
    web: Arc<Servers>,
}

impl Clerk {
    async fn look(&self) {
        let directory = self.cluster.directory();
        let Some(terms) = directory.settings().acme() else { return };
        let now = self.cluster.clock().now();
        let known = directory.certificate.as_deref();
        let Some(reason) = due(known, &directory.acme, &terms, now) else { return };
        // Another order in the same millisecond is another node's.
        let began = now;
        let before = directory.acme.order.as_ref().map(|order| order.began);
        let step = |what| self.note(AcmeStep { began, what });
        if let Err(why) = step(AcmeWhat::Begin { by: self.cluster.node(), before }).await {
            return info!("no certificate is ordered now: {why}");
        }
        info!("a certificate is ordered of {}: {}", terms.directory, reason.words());
        let order = self.order(&directory, terms.clone(), reason);
        let made = match order {
            Ok(order) => match timeout(ORDER_MAX, order.run(step)).await {
                Ok(made) => made,
                Err(_) => Err(format!("it takes longer than {} s", ORDER_MAX.as_secs())),
            },
            Err(why) => Err(why),
        };
        let ended = match made {
            Ok(certificate) => {
                info!("a certificate has come of {}", terms.directory);
                step(AcmeWhat::Issued { directory: terms.directory, certificate }).await
            }
            Err(why) => {
                warn!("a certificate cannot be had of {}: {why}", terms.directory);
                step(AcmeWhat::Failed(why)).await
            }
        };
        if let Err(why) = ended {
            warn!("the end of an order could not be noted: {why}");
        }
    }

    fn order(
        &self,
        directory: &Directory,
        terms: AcmeTerms,
        reason: Reason,
    ) -> Result<Order<Servers>, String> {
        let settings = directory.settings();
        let proof = match (terms.challenge, &self.hook) {
            (AcmeChallenge::Http, _) if settings.listener(ListenerName::Http).enabled => Proof::Http,
            (AcmeChallenge::Http, _) => {
                return Err("listener.http.enabled is false: nobody could ask here".to_owned());
            }
            (AcmeChallenge::Dns, Some(program)) => Proof::Dns(program.clone()),
            (AcmeChallenge::Dns, None) => return Err("acme.dns_hook is missing in pollux.toml".to_owned()),
        };
        let account = directory.acme.account.clone();
        let account = account.filter(|account| account.directory == terms.directory);
        // The key stays: what was published of it (RFC 7671) stays true.
        let keeps = reason != Reason::Asked(Renewal::NewKey);
        let ours = directory.certificate.as_ref().filter(|known| keeps && known.from.is_some());
        let private = ours.map(|known| known.private.clone());
        Ok(Order { terms, account, private, proof, web: Arc::clone(&self.web) })
    }

    async fn note(&self, step: AcmeStep) -> Result<(), String> {
        match timeout(NOTE_MAX, self.cluster.propose(Command::StepAcme(Box::new(step)))).await {
            Ok(Ok(Outcome::Refused(refusal))) => Err(refusal.to_string()),
            Ok(Ok(_)) => Ok(()),
            Ok(Err(fault)) => Err(fault.to_string()),
            Err(_) => Err("the cluster does not take it in time".to_owned()),
        }
    }
}

/// Servers of the world, each of which has to prove its name.
struct Servers {
    cluster: ClusterHandle,
    dns: Resolver,
}

impl Web for Servers {
    fn ask(&self, asked: Asked) -> Pin<Box<dyn Future<Output = Result<Answer, String>> + Send + '_>> {
        Box::pin(async move {
            let Asked { host, port, text, read, answer_bytes_max } = asked;
            let question = Question { host: &host, port, text: &text, read, answer_bytes_max };
            let directory = self.cluster.directory();
            question.ask(&self.dns, &directory.authorities).await.map_err(|unheard| unheard.to_string())
        })
    }
}
