//! One request and its answer: read, decide, wait, do, remember, answer.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::SystemTime,
};

use bytes::{Bytes, BytesMut};
use http::{
    HeaderName, HeaderValue,
    header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, DATE},
};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::{Map, Value};
use tokio::time::sleep;

use crate::{
    errors,
    faults::{Decision, Instead, Point},
    server::{Core, Surroundings, lock},
    service::{Answer, Request, Response, form_pairs},
    wire::Trickle,
};

/// The longest body read.
const BODY_LIMIT: usize = 1024 * 1024;

/// The connection ends here without an answer.
#[derive(Debug)]
pub(crate) struct Broken;

impl fmt::Display for Broken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the connection was broken on purpose")
    }
}

impl std::error::Error for Broken {}

/// How a connection is broken.
enum Break {
    Reset,
    Close,
}

/// Reads a request to its end and answers it.
pub(crate) async fn exchange(
    core: Arc<Core>,
    connection: u64,
    reset: Arc<AtomicBool>,
    request: hyper::Request<Incoming>,
) -> Result<hyper::Response<Trickle>, Broken> {
    let (head, body) = request.into_parts();
    let Some(body) = read(body).await.map_err(|_| Broken)? else {
        let mut response = Response::json(413, &Value::Null);
        let close = (CONNECTION.to_string(), "close".to_owned());
        response.headers.push(close);
        return Ok(render(response, &Decision::default(), SystemTime::now()));
    };
    let request = Request {
        method: head.method,
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        headers: head.headers,
        body,
    };
    // A task of its own: what has been received is carried out even if the client does not wait for it.
    let witness = core.surroundings.witness.clone();
    match tokio::spawn(perform(core, connection, request)).await {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(Break::Reset)) => {
            reset.store(true, Ordering::Relaxed);
            Err(Broken)
        }
        Ok(Err(Break::Close)) => Err(Broken),
        Err(failure) => {
            // The message has been printed; the test must not pass on a retry. A server that stops cancels.
            if failure.is_panic() {
                witness.not_implemented("a request on which the service panicked");
            }
            Err(Broken)
        }
    }
}

/// The whole body, or nothing if it is too long.
async fn read(mut body: Incoming) -> Result<Option<Bytes>, hyper::Error> {
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            if whole.len() + data.len() > BODY_LIMIT {
                return Ok(None);
            }
            whole.extend_from_slice(&data);
        }
    }
    Ok(Some(whole.freeze()))
}

async fn perform(core: Arc<Core>, connection: u64, request: Request) -> Result<hyper::Response<Trickle>, Break> {
    let Surroundings { clock, faults, witness, .. } = &core.surroundings;
    let operation = lock(&core.service).operation(&request);
    lock(&core.history).begin();
    let decision = faults.decide(&operation);
    let names = decision.names.clone();
    let call = witness.arrived(core.name, &operation, sent(&request), connection, names);
    let broken = |how| {
        witness.broken(call);
        Err(how)
    };

    sleep(decision.before).await;
    let response = match &decision.instead {
        Some(Instead::Reset(Point::Before)) => return broken(Break::Reset),
        Some(Instead::Close(Point::Before)) => return broken(Break::Close),
        Some(Instead::Error(response)) => response.clone(),
        Some(Instead::Reset(Point::After) | Instead::Close(Point::After)) | None => {
            let answer = core.answer(&request, &decision);
            witness.done(call, answer.changed, answer.parameters);
            if answer.response.status == 501 {
                witness.not_implemented(&operation);
            }
            answer.response
        }
    };
    sleep(decision.after).await;
    match decision.instead {
        Some(Instead::Reset(_)) => broken(Break::Reset),
        Some(Instead::Close(_)) => broken(Break::Close),
        Some(Instead::Error(_)) | None => {
            witness.answered(call, response.status, errors::code(&response));
            Ok(render(response, &decision, clock.now()))
        }
    }
}

impl Core {
    /// Does it, on the present state or on a past one.
    fn answer(&self, request: &Request, decision: &Decision) -> Answer {
        let now = self.surroundings.clock.now();
        if let Some(age) = decision.age {
            let past = now.checked_sub(age).and_then(|then| lock(&self.history).at(then));
            if let Some(mut past) = past {
                return past.answer(request, now);
            }
        }
        let mut service = lock(&self.service);
        let answer = service.answer(request, now);
        if answer.changed {
            // While the service is locked, so that the states stand in the order of the changes.
            lock(&self.history).changed(service.snapshot(), now);
        }
        answer
    }
}

/// The parameters as they were sent: a form, else a query, else a document.
fn sent(request: &Request) -> Value {
    let form = request.header("content-type").starts_with("application/x-www-form-urlencoded");
    let pairs = if form {
        form_pairs(&String::from_utf8_lossy(&request.body))
    } else if request.body.is_empty() {
        request.query_pairs()
    } else {
        return serde_json::from_slice(&request.body).unwrap_or_default();
    };
    Value::Object(pairs.into_iter().map(|(key, value)| (key, Value::from(value))).collect::<Map<_, _>>())
}

fn render(response: Response, decision: &Decision, now: SystemTime) -> hyper::Response<Trickle> {
    let length = response.body.len();
    let trickle = Trickle::new(response.body, decision.trickle, decision.truncated);
    let mut rendered = hyper::Response::new(trickle);
    // A status or header that HTTP does not know is a slip in a service: 500 makes it seen.
    *rendered.status_mut() = http::StatusCode::from_u16(response.status).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    let headers = rendered.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(decision.content_type.unwrap_or(response.content_type)));
    // The whole length even of a truncated body: that is how the client can tell.
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    if let Ok(date) = HeaderValue::from_str(&httpdate::fmt_http_date(now)) {
        headers.insert(DATE, date);
    }
    for (name, value) in response.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            headers.append(name, value);
        }
    }
    rendered
}
