//! How `object_store` asks: by our own client.

use std::io;
use std::time::Duration;

use http_body_util::BodyExt;
use object_store::client::{
    ClientOptions, HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse,
    HttpResponseBody, HttpService,
};

use crate::asking::{Asking, Unheard};

/// From the question to the head of the answer: 8 MiB up a line of 128 kbit/s.
const ANSWER_MAX: Duration = Duration::from_secs(600);

#[derive(Debug, Clone)]
pub struct StoreClient(pub Asking);

impl HttpConnector for StoreClient {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

#[async_trait::async_trait]
impl HttpService for StoreClient {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let question = request.map(|said| said.map_err(Into::into).boxed());
        let answer = self.0.ask(question, ANSWER_MAX).await;
        let answer = answer.map_err(|error| HttpError::new(kind_of(&error), error))?;
        Ok(answer.map(|answer| HttpResponseBody::new(answer.map_err(broken))))
    }
}

/// Most of what breaks a connection is worth another try.
fn kind_of(error: &Unheard) -> HttpErrorKind {
    match error {
        Unheard::Connect(_) => HttpErrorKind::Connect,
        Unheard::Late => HttpErrorKind::Timeout,
        Unheard::BrokenOff(_) => HttpErrorKind::Interrupted,
        Unheard::Unreadable(_) => HttpErrorKind::Decode,
        Unheard::Other(_) => HttpErrorKind::Unknown,
    }
}

fn broken(error: io::Error) -> HttpError {
    let kind = match error.kind() {
        io::ErrorKind::TimedOut => HttpErrorKind::Timeout,
        _ => HttpErrorKind::Interrupted,
    };
    HttpError::new(kind, error)
}
