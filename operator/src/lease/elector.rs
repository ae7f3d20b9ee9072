//! Client: takes the lease, renews it, and gives it back.

use k8s_openapi::{api::coordination::v1::Lease, jiff::Timestamp};
use kube::{Api, Client, api::PostParams};
use tokio::{sync::watch, time};

use super::{BootTime, Contender, Leadership, Lost, Settings, Step};
use crate::{metrics::Metrics, run_controller::words::words};

/// One operator in the election.
#[derive(Debug)]
pub struct Elector {
    api: Api<Lease>,
    name: String,
    settings: Settings,
    contender: Contender,
    claims: watch::Sender<super::leadership::Claims>,
    metrics: Metrics,
    told: Option<String>,
}

/// An attempt did not get through.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("failed to {0} the lease")]
    Call(&'static str, #[source] kube::Error),
    #[error("the API server took longer than {} s", .0.as_secs_f32())]
    Slow(time::Duration),
}

impl Elector {
    /// An operator that has not looked yet. The client must be one whose writes nobody guards.
    pub fn new(
        client: Client,
        namespace: &str,
        name: &str,
        identity: String,
        settings: Settings,
        metrics: Metrics,
    ) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            name: name.to_owned(),
            settings,
            contender: Contender::new(name.to_owned(), identity, settings),
            claims: watch::Sender::new(None),
            metrics,
            told: None,
        }
    }

    /// What the writers are to ask.
    pub fn leadership(&self) -> Leadership {
        Leadership::claimed(self.claims.subscribe())
    }

    /// Waits for the lease, then renews it; returns when it is lost. Whoever calls this ends then.
    pub async fn keep(&mut self) -> Lost {
        loop {
            let patience = self.settings.attempt().min(self.left());
            let attempt = time::timeout(patience, self.attempt()).await;
            if let Err(error) = attempt.unwrap_or(Err(Error::Slow(patience))) {
                tracing::warn!(
                    error = words(&error),
                    leads = self.contender.claim().is_some(),
                    "a look at the lease failed and is tried again"
                );
            }
            if let Some(lost) = self.contender.lost(BootTime::now()) {
                self.claims.send_replace(None);
                return lost;
            }
            self.claims.send_replace(self.contender.claim().cloned());
            self.tell();
            time::sleep(self.settings.retry().min(self.left())).await;
        }
    }

    /// Ends all writing and lets another operator lead at once. Best effort: it would wait out
    /// the lease otherwise.
    pub async fn release(&mut self) {
        let patience = self.settings.attempt();
        if self.claims.send_replace(None).is_none() {
            return;
        }
        match time::timeout(patience, self.give_back()).await {
            Ok(Ok(())) => tracing::info!("the lease is given back"),
            Ok(Err(error)) => {
                tracing::warn!(error = words(&error), "the lease is left to run out");
            }
            Err(_) => tracing::warn!("the lease is left to run out: no answer"),
        }
    }

    async fn attempt(&mut self) -> Result<(), Error> {
        self.look().await?;
        match self.contender.step(BootTime::now()) {
            Step::Wait => Ok(()),
            Step::Take | Step::Renew => {
                let bid = self.contender.bid(Timestamp::now());
                let sent = BootTime::now();
                // Of two bids for one version the API server takes one; the other looks again.
                let won = self.write(bid).await?;
                self.contender.won(won, sent, BootTime::now());
                Ok(())
            }
        }
    }

    async fn look(&mut self) -> Result<(), Error> {
        let found = self.api.get_opt(&self.name).await;
        let found = found.map_err(|source| Error::Call("get", source))?;
        self.contender.see(found, BootTime::now());
        Ok(())
    }

    async fn write(&self, lease: Lease) -> Result<Lease, Error> {
        let post = PostParams {
            field_manager: Some(crate::names::MANAGER.to_owned()),
            ..PostParams::default()
        };
        if lease.metadata.resource_version.is_none() {
            let made = self.api.create(&post, &lease).await;
            return made.map_err(|source| Error::Call("create", source));
        }
        let replaced = self.api.replace(&self.name, &post, &lease).await;
        replaced.map_err(|source| Error::Call("update", source))
    }

    async fn give_back(&mut self) -> Result<(), Error> {
        self.look().await?;
        if let Some(lease) = self.contender.release(Timestamp::now()) {
            self.write(lease).await?;
        }
        Ok(())
    }

    /// Until the claim ends; an operator without one has all the time.
    fn left(&self) -> time::Duration {
        let claim = self.contender.claim();
        claim.map_or(time::Duration::MAX, |claim| {
            claim.renew_by.since(BootTime::now())
        })
    }

    /// Says who leads, once for each.
    fn tell(&mut self) {
        self.metrics.lease_transitions(self.contender.transitions());
        let holder = self.contender.holder().map(ToOwned::to_owned);
        if holder == self.told {
            return;
        }
        match (&holder, self.contender.claim()) {
            (Some(identity), Some(_)) => tracing::info!(identity, "this operator leads"),
            (Some(leader), None) => {
                tracing::info!(leader, "another operator leads; this one stands by");
            }
            (None, _) => tracing::info!("no operator leads"),
        }
        self.told = holder;
    }
}
