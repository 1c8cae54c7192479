//! The learner's cluster, as the picture finds it.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use async_trait::async_trait;
use lab_checks::language::Text;
use lab_cluster::lifecycle;
use lab_cluster::provider::RunState;
use lab_cluster::record::{ClusterDir, Record, RecordError};
use lab_cluster::status::Addresses;
use lab_guide::picture::{Absence, AbsenceKind, Cluster, Reached};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::commands::lab::{Learner, command_line};

/// How long the API's port may take to answer a knock.
const KNOCK: Duration = Duration::from_millis(500);

/// The cluster of a learner.
pub(super) struct HerCluster {
    name: String,
    dir: ClusterDir,
}

impl HerCluster {
    pub(super) fn of(learner: &Learner) -> Self {
        Self {
            name: learner.name.clone(),
            dir: learner.dir.clone(),
        }
    }

    fn absence(&self, kind: AbsenceKind, en: &str, fr: &str, command: &str) -> Absence {
        Absence {
            kind,
            say: Text {
                en: en.to_owned(),
                fr: fr.to_owned(),
            },
            command: command_line(&self.name, command),
        }
    }

    fn unreachable(&self, problem: &str) -> Absence {
        self.absence(
            AbsenceKind::Unreachable,
            &format!("Your cluster does not answer{problem}. This shows how it is:"),
            &format!("Votre cluster ne répond pas{problem}. Ceci montre comment il va :"),
            "status",
        )
    }

    /// Why nobody answers at the API's port.
    async fn why(&self, record: &Record) -> Absence {
        let parts = async {
            let provider = lifecycle::provider(record, &self.dir).await?;
            provider.components().await
        };
        match parts.await {
            Ok(parts) if parts.iter().all(|part| part.state != RunState::Running) => self.absence(
                AbsenceKind::Stopped,
                "Your cluster is stopped. This brings it back as it was:",
                "Votre cluster est arrêté. Ceci le fait revenir tel qu’il était :",
                "start",
            ),
            Ok(_) => self.unreachable(""),
            Err(error) => self.unreachable(&format!(" ({error:#})")),
        }
    }
}

#[async_trait]
impl Cluster for HerCluster {
    async fn find(&self) -> Result<Reached, Absence> {
        let record = match self.dir.load() {
            Ok(record) => record,
            Err(RecordError::NotFound { .. }) => {
                return Err(self.absence(
                    AbsenceKind::Gone,
                    "There is no cluster yet. This starts one:",
                    "Il n’y a pas encore de cluster. Ceci en démarre un :",
                    "start 3",
                ));
            }
            Err(error) => return Err(self.unreachable(&format!(" ({error})"))),
        };
        let port = SocketAddr::from((Ipv4Addr::LOCALHOST, record.ports.api));
        if !matches!(timeout(KNOCK, TcpStream::connect(port)).await, Ok(Ok(_))) {
            return Err(self.why(&record).await);
        }
        let client = lifecycle::client(&record);
        let client = client.map_err(|error| self.unreachable(&format!(" ({error:#})")))?;
        Ok(Reached {
            client,
            metrics: Addresses::of(&record).metrics,
        })
    }
}
