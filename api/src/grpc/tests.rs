use futures::FutureExt;
use http_body_util::BodyExt;

use super::*;
use crate::Config;
use crate::testing::{Answer, ask, edge, frame, grpc_request};

const LIMITS: Limits = Limits { bytes: 100, time: Duration::from_secs(60) };

/// What both ports answer.
async fn call(path: &str, body: Bytes) -> [Answer; 2] {
    let test_edge = edge(Config::default()).await;
    let routers = [crate::otlp::grpc::router(test_edge.edge.clone()), crate::routes::router(test_edge.edge.clone())];
    let [otlp, http] = routers.map(|router| ask(router, grpc_request(path, &[], body.clone())));
    [otlp.await, http.await]
}

#[tokio::test]
async fn health_is_serving_and_unknown_methods_are_unimplemented_on_both_ports() {
    for answer in call(HEALTH_CHECK, frame(false, &[])).await {
        assert_eq!((answer.header("grpc-status"), &answer.body), ("0", &frame(false, SERVING)));
    }
    for answer in call("/some.Service/Method", frame(false, &[])).await {
        assert_eq!(answer.header("grpc-status"), "12");
    }
}

#[tokio::test]
async fn a_stream_ends_with_the_status_of_its_work() {
    let stream = async |fails: bool| {
        let work = move |message: Bytes, messages: mpsc::Sender<Bytes>| {
            Ok(async move {
                for _ in 0..3 {
                    messages.send(message.clone()).await.expect("somebody reads");
                }
                if fails { Err(Status::data_loss("gone")) } else { Ok(()) }
            })
        };
        let response = server_streaming(grpc_request("/", &[], frame(false, b"x")), LIMITS, work).await;
        let body = response.into_body().collect().await.unwrap();
        let status = body.trailers().unwrap()["grpc-status"].to_str().unwrap().to_owned();
        (body.to_bytes(), status)
    };
    let three = Bytes::from(frame(false, b"x").repeat(3));
    assert_eq!(stream(false).await, (three.clone(), "0".to_owned()));
    assert_eq!(stream(true).await, (three, "15".to_owned()));
}

#[tokio::test]
async fn work_that_panics_is_no_success() {
    let work = |_: Bytes, _: mpsc::Sender<Bytes>| Ok(async { panic!("as this test wants") });
    let response = server_streaming(grpc_request("/", &[], frame(false, &[])), LIMITS, work).await;
    let body = response.into_body().collect().await.unwrap();
    assert_eq!(body.trailers().unwrap()["grpc-status"], "13");
}

#[tokio::test]
async fn a_client_that_goes_away_ends_the_work() {
    let (held, mut ended) = mpsc::channel::<()>(1);
    let work = |_: Bytes, messages: mpsc::Sender<Bytes>| {
        let held = held.clone();
        Ok(async move {
            messages.send(Bytes::new()).await.expect("somebody reads");
            std::future::pending::<()>().await;
            drop(held);
            Ok(())
        })
    };
    let response = server_streaming(grpc_request("/", &[], frame(false, &[])), LIMITS, work).await;
    let mut body = response.into_body();
    assert!(body.frame().await.is_some());
    drop((body, held));
    assert_eq!(ended.recv().await, None, "nothing holds on to the work");
}

#[tokio::test]
async fn messages_over_the_limit_are_not_read() {
    let work = |_: Bytes, _: mpsc::Sender<Bytes>| Ok(async { Ok(()) });
    let response = server_streaming(grpc_request("/", &[], frame(false, &[0; 101])), LIMITS, work).await;
    assert_eq!(response.headers()["grpc-status"], "8");
}

#[tokio::test]
async fn who_watches_health_is_told_at_once_and_only_of_news() {
    let test_edge = edge(Config::default()).await;
    let request = grpc_request(HEALTH_WATCH, &[], frame(false, &[]));
    let response = serve_common(test_edge.edge.clone(), request).await;
    let mut body = response.into_body();
    let told = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(told, frame(false, SERVING));
    assert!(body.frame().now_or_never().is_none(), "nothing changed, and the stream goes on");
}
