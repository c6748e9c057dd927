//! Ports, keys, health, reflection, sizes and garbage.

use arrow_flight::{Action, Empty, FlightData, flight_service_client::FlightServiceClient};
use bytes::{BufMut, Bytes, BytesMut};
use longbow_types::ErrorCode;
use longbow_wire::{convert::status::from_status, v1};
use prost::Message;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tonic::{Code, Request, Status, transport::Channel};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tower::{Service, ServiceExt};

use crate::cluster::{Client, Cluster, PATIENCE, row, shared};

#[tokio::test]
async fn both_ports_serve_both_apis_and_health() {
    let client = shared().await;
    for addr in [client.addr, client.meta] {
        let mut client = Client::connect(addr).await;
        client
            .datasets
            .list_datasets(v1::ListDatasetsRequest::default())
            .await
            .unwrap();
        client.flight.list_actions(Empty {}).await.unwrap();
        let mut health = HealthClient::new(client.channel.clone());
        for service in [
            "",
            "longbow.v1.SearchService",
            "arrow.flight.protocol.FlightService",
        ] {
            let request = HealthCheckRequest {
                service: service.into(),
            };
            let answer = health.check(request).await.unwrap().into_inner();
            assert_eq!(answer.status(), ServingStatus::Serving, "{service}");
        }
    }
}

#[tokio::test]
async fn reflection_tells_about_the_public_services() {
    use tonic_reflection::pb::v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    };
    let client = shared().await;
    let mut reflection = ServerReflectionClient::new(client.channel.clone());
    let asked = [
        MessageRequest::ListServices(String::new()),
        MessageRequest::FileContainingSymbol("longbow.v1.WriteService.Upsert".into()),
    ];
    let requests = asked.map(|request| ServerReflectionRequest {
        host: String::new(),
        message_request: Some(request),
    });
    let answers = reflection
        .server_reflection_info(futures::stream::iter(requests))
        .await
        .unwrap();
    let mut answers = answers.into_inner();
    let Some(MessageResponse::ListServicesResponse(list)) =
        answers.message().await.unwrap().unwrap().message_response
    else {
        panic!("a list of services");
    };
    let names: Vec<String> = list.service.into_iter().map(|service| service.name).collect();
    assert!(names.contains(&"longbow.v1.WriteService".to_owned()), "{names:?}");
    assert!(names.iter().all(|name| !name.contains("internal")), "{names:?}");
    let file = answers.message().await.unwrap().unwrap().message_response;
    assert!(
        matches!(file, Some(MessageResponse::FileDescriptorResponse(_))),
        "{file:?}"
    );
}

#[tokio::test]
async fn a_key_guards_everything_but_health() {
    let cluster = Cluster::start(1, Some("open sesame")).await;
    let mut client = cluster.client().await;
    let list = v1::ListDatasetsRequest::default;
    let error = from_status(&client.datasets.list_datasets(list()).await.unwrap_err());
    assert_eq!(
        (error.code, error.field.as_deref()),
        (ErrorCode::Unauthenticated, Some("authorization"))
    );
    assert_eq!(
        client.flight.list_actions(Empty {}).await.unwrap_err().code(),
        Code::Unauthenticated
    );
    let mut wrong = Request::new(list());
    wrong
        .metadata_mut()
        .insert("authorization", "Bearer open sesam".parse().unwrap());
    assert_eq!(
        client.datasets.list_datasets(wrong).await.unwrap_err().code(),
        Code::Unauthenticated
    );
    let mut right = Request::new(list());
    right
        .metadata_mut()
        .insert("authorization", "Bearer open sesame".parse().unwrap());
    client.datasets.list_datasets(right).await.unwrap();
    let mut health = HealthClient::new(client.channel.clone());
    health.check(HealthCheckRequest::default()).await.unwrap();
}

/// Announces a message of `length` bytes, sends a little of it, and gives the status that comes back.
async fn oversized(channel: &Channel, path: &str, length: u32) -> Status {
    raw(channel, path, length, &[0; 1 << 16]).await
}

/// Sends bytes as a message of an announced length, and gives the status that comes back.
async fn raw(channel: &Channel, path: &str, length: u32, bytes: &[u8]) -> Status {
    let mut start = BytesMut::new();
    start.put_u8(0);
    start.put_u32(length);
    start.put_slice(bytes);
    let frames = futures::stream::iter([Ok::<_, Status>(http_body::Frame::data(Bytes::from(start)))]);
    // The body never ends by itself: only a server that does not wait for it answers.
    let frames = futures::StreamExt::chain(frames, futures::stream::pending());
    let request = http::Request::post(path)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(tonic::body::Body::new(http_body_util::StreamBody::new(frames)))
        .unwrap();
    let mut channel = channel.clone();
    let answer = timeout(PATIENCE, channel.ready().await.unwrap().call(request)).await;
    let answer = answer.expect("the server answers without waiting").unwrap();
    Status::from_header_map(answer.headers()).expect("a refusal")
}

#[tokio::test]
async fn messages_over_the_limit_are_refused_by_their_length() {
    let mut client = shared().await;
    for (path, limit) in [
        ("/longbow.v1.WriteService/Upsert", "67108864 bytes"),
        ("/arrow.flight.protocol.FlightService/DoPut", "536870912 bytes"),
        ("/arrow.flight.protocol.FlightService/DoAction", "536870912 bytes"),
        ("/grpc.health.v1.Health/Check", "4194304 bytes"),
    ] {
        let status = oversized(&client.channel, path, 1 << 30).await;
        assert_eq!(status.code(), Code::ResourceExhausted, "{path}");
        let error = from_status(&status);
        assert_eq!(
            (error.code, error.limit.as_deref()),
            (ErrorCode::TooLarge, Some(limit))
        );
    }
    client.create("alive").await;
}

#[tokio::test]
async fn what_no_code_of_ours_sees_is_refused_by_a_typed_error_too() {
    let client = shared().await;
    let mut nested = v1::Filter::default();
    for _ in 0..200 {
        let part = Box::new(std::mem::take(&mut nested));
        nested.node = Some(v1::filter::Node::Not(part));
    }
    let nested = v1::SearchRequest {
        filter: Some(nested),
        ..v1::SearchRequest::default()
    };
    let cases: [(&str, Vec<u8>, ErrorCode, &str); 4] = [
        // A name that is no UTF-8, a length that goes beyond the end.
        ("Search", vec![0x0a, 1, 0xff], ErrorCode::InvalidValue, "message"),
        ("Search", vec![0x0a, 9, b'a'], ErrorCode::InvalidValue, "message"),
        ("Search", nested.encode_to_vec(), ErrorCode::TooLarge, "filter"),
        (
            "Seek",
            vec![],
            ErrorCode::Unsupported,
            "/longbow.v1.SearchService/Seek",
        ),
    ];
    for (method, bytes, code, field) in cases {
        let path = format!("/longbow.v1.SearchService/{method}");
        let status = raw(&client.channel, &path, bytes.len() as u32, &bytes).await;
        let error = from_status(&status);
        assert_eq!(
            (error.code, error.field.as_deref()),
            (code, Some(field)),
            "{status}"
        );
    }
    let status = raw(&client.channel, "/longbow.v1.NoService/Call", 0, &[]).await;
    assert_eq!(from_status(&status).code, ErrorCode::Unsupported);
}

#[tokio::test]
async fn garbage_harms_nobody() {
    let mut client = shared().await;
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    let starts: [Vec<u8>; 4] = [
        vec![],
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        preface.clone(),
        [preface, vec![0xff; 9]].concat(),
    ];
    for addr in [client.addr, client.meta] {
        for (seed, start) in starts.iter().enumerate() {
            let mut stream = TcpStream::connect(addr).await.unwrap();
            let noise: Vec<u8> = (0..4_096u32)
                .map(|i| (i.wrapping_mul(2_654_435_761) >> (seed + 7)) as u8)
                .collect();
            // The other side may hang up at any point; what matters is that it lives.
            let _ = stream.write_all(start).await;
            let _ = stream.write_all(&noise).await;
            let _ = stream.shutdown().await;
            let _ = timeout(PATIENCE, stream.read_to_end(&mut Vec::new())).await;
        }
    }
    let mut flight = FlightServiceClient::new(client.channel.clone());
    let noise = FlightData {
        data_header: Bytes::from_static(b"noise"),
        ..FlightData::default()
    };
    let status = flight.do_put(futures::stream::iter([noise])).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    let action = Action {
        r#type: "VectorSearch".into(),
        body: Bytes::from_static(b"{\"dataset\": "),
    };
    assert_eq!(
        flight.do_action(action).await.unwrap_err().code(),
        Code::InvalidArgument
    );
    let dataset = client.create("unharmed").await;
    client
        .upsert(&dataset, vec![row(1)], v1::AckLevel::Applied)
        .await
        .unwrap();
}

#[tokio::test]
async fn metrics_and_health_are_served_over_http() {
    let mut client = shared().await;
    let dataset = client.create("metrics").await;
    client
        .upsert(&dataset, vec![row(1)], v1::AckLevel::Applied)
        .await
        .unwrap();
    client.search(crate::cluster::near(&dataset, 1, 1)).await.unwrap();
    client
        .flight
        .list_flights(arrow_flight::Criteria::default())
        .await
        .unwrap();
    let page = |path: &'static str| async move {
        let mut stream = TcpStream::connect(client.http).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    };
    assert!(page("/healthz").await.starts_with("HTTP/1.1 200"));
    assert!(page("/readyz").await.starts_with("HTTP/1.1 200"));
    let metrics = page("/metrics").await;
    for series in [
        "longbow_global_search_duration_seconds_bucket",
        "longbow_flight_ops_total{action=\"ListFlights\",status=\"ok\"}",
        "longbow_flight_duration_seconds_bucket{action=\"ListFlights\"",
        "longbow_grpc_requests_total{method=\"/longbow.v1.SearchService/Search\",code=\"OK\"}",
    ] {
        assert!(metrics.contains(series), "{series} is missing");
    }
}
