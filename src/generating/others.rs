//! The other writers of a cluster, asked for halves of calls that this process lacks.

use std::sync::Arc;

use futures::future::join_all;
use peers::Peers;
use storage::incarnation::Incarnation;
use storage::members::Members;

/// Who is asked.
pub struct Others {
    pub members: Arc<Members>,
    pub peers: Arc<dyn Peers>,
    /// The start of this process, which is not asked.
    pub own: Incarnation,
}

/// What came of questions.
pub struct Asked {
    pub questions: Vec<Vec<u8>>,
    pub answers: Vec<Vec<u8>>,
    /// Every other writer has answered every question.
    pub by_all: bool,
}

impl Others {
    /// Asks each of the others everything. Who does not answer is asked again the next time.
    pub async fn ask(self: Arc<Self>, questions: Vec<Vec<u8>>) -> Asked {
        let nothing = |questions, by_all| Asked { questions, answers: Vec::new(), by_all };
        if questions.is_empty() {
            return nothing(questions, true);
        }
        let members = match self.members.view().await {
            Ok(members) => members,
            Err(error) => {
                tracing::warn!(%error, "halves of calls are asked of nobody, it is not known who has live spans");
                return nothing(questions, false);
            }
        };
        let others = members.writers.iter().filter(|writer| writer.incarnation != self.own);
        let calls = others.flat_map(|writer| questions.iter().map(move |question| (writer, question.clone())));
        let peers = &self.peers;
        let answers = calls.map(|(writer, question)| async move {
            let answered = peers.halves(writer, question).await;
            answered.inspect_err(|error| {
                tracing::debug!(address = writer.address, %error, "halves of calls could not be asked for");
            })
        });
        let answers = join_all(answers).await;
        let by_all = answers.iter().all(Result::is_ok);
        Asked { questions, answers: answers.into_iter().flatten().collect(), by_all }
    }
}
