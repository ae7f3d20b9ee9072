//! `darwinlm watch --store`: what a run's store tells, as a picture, until the run ends.

use std::time::Duration;

use super::super::Failure;
use super::super::cluster::watch::FAILED;
use super::super::frames::{Frames, ended_by};
use super::picture::picture;
use super::reader::Reader;
use super::stand::{End, Stand};

/// Pause between two looks.
const LOOK: Duration = Duration::from_secs(2);

/// Draws until the run ends.
pub(in crate::cli) async fn watch(run: Option<&str>, store: &str) -> Result<(), Failure> {
    let mut reader = Reader::open(run, store).await?;
    let name = reader.name();
    let mut frames = Frames::open()?;
    let mut told = None;
    loop {
        let (picture, news, ended) = tokio::select! {
            signal = frames.stopped() => return Err(ended_by(signal)),
            stand = reader.look() => {
                let stand = stand?;
                (picture(&stand), news(&stand), stand.ended())
            }
        };
        let is_new = told.as_ref() != Some(&news);
        told = Some(news);
        // Who reads no further has seen enough.
        if !frames.show(picture, is_new) {
            return Ok(());
        }
        match ended {
            None => {}
            Some(End::Succeeded) => return Ok(()),
            Some(End::Failed(message)) => {
                return Err(Failure {
                    code: FAILED,
                    message: format!("{name} has failed: {message}"),
                });
            }
        }
        tokio::select! {
            signal = frames.stopped() => return Err(ended_by(signal)),
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

/// What makes a page worth another one in a file or pipe: ages alone do not.
fn news(stand: &Stand<'_>) -> impl PartialEq + use<> {
    let search = stand.search.as_ref();
    (
        search.map(|search| search.generations.len()),
        (
            stand.is_prepared,
            stand.is_measured,
            stand.is_database_ready,
        ),
        (stand.training, stand.is_evaluated),
        (stand.is_at_work(), stand.ended()),
    )
}
