//! Arrow Flight: the surface that existing Longbow clients speak, as a translation onto the core.
//!
//! `contract` in the comments of this folder means what those clients send and expect; faults of their former server
//! are not repeated. What this version does not do is refused by name, never answered as if it worked.

mod actions;
mod answer;
mod do_get;
mod do_put;
mod explain;
mod filters;
mod info;
mod list_flights;
mod observe;
mod reply;
mod request;
mod row_id;
mod schema;
mod search;
mod ticket;

use std::{net::SocketAddr, pin::Pin};

use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightInfo, HandshakeRequest,
    HandshakeResponse, PollInfo, PutResult, Result as ActionResult, SchemaResult, Ticket,
    flight_service_server::{FlightService, FlightServiceServer},
};
use futures::{Stream, StreamExt};
use longbow_types::{Error, ErrorCode, limits::FLIGHT_MESSAGE_BYTES_MAX};
use longbow_wire::convert::status::to_status;
use tonic::{Request, Response, Status, Streaming, service::Routes};

use crate::{grpc::deadline_of, ops::Core};

/// The service's full name.
pub const SERVICE: &str = "arrow.flight.protocol.FlightService";

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The Flight service over the core.
#[derive(Debug, Clone)]
pub struct Api {
    core: Core,
    /// Where this router's meta port is reached, for `cluster-status`.
    meta_addr: SocketAddr,
}

impl Api {
    /// The service of a core.
    pub fn new(core: Core, meta_addr: SocketAddr) -> Self {
        Self { core, meta_addr }
    }

    /// Adds the service.
    pub fn add_to(self, routes: Routes) -> Routes {
        routes.add_service(
            FlightServiceServer::new(self)
                .max_decoding_message_size(FLIGHT_MESSAGE_BYTES_MAX)
                .max_encoding_message_size(FLIGHT_MESSAGE_BYTES_MAX),
        )
    }
}

#[tonic::async_trait]
impl FlightService for Api {
    type HandshakeStream = Answers<HandshakeResponse>;
    type ListFlightsStream = Answers<FlightInfo>;
    type DoGetStream = Answers<FlightData>;
    type DoPutStream = Answers<PutResult>;
    type DoExchangeStream = Answers<FlightData>;
    type DoActionStream = Answers<ActionResult>;
    type ListActionsStream = Answers<ActionType>;

    async fn handshake(
        &self,
        _: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Self::HandshakeStream>, Status> {
        Err(unsupported(
            "Handshake",
            "send `authorization: Bearer KEY` with each call instead",
        ))
    }

    async fn list_flights(
        &self,
        request: Request<Criteria>,
    ) -> Result<Response<Self::ListFlightsStream>, Status> {
        let at = deadline_of(request.metadata());
        let work = list_flights::list_flights(&self.core, request.into_inner().expression, at);
        observe::answer("ListFlights", at, work).await.map(streamed)
    }

    async fn get_flight_info(
        &self,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let at = deadline_of(request.metadata());
        let work = info::flight_info(&self.core, request.get_ref(), at);
        observe::answer("GetFlightInfo", at, work)
            .await
            .map(Response::new)
    }

    async fn poll_flight_info(&self, _: Request<FlightDescriptor>) -> Result<Response<PollInfo>, Status> {
        Err(unsupported("PollFlightInfo", "use GetFlightInfo"))
    }

    async fn get_schema(&self, request: Request<FlightDescriptor>) -> Result<Response<SchemaResult>, Status> {
        let at = deadline_of(request.metadata());
        let work = info::schema(&self.core, request.get_ref(), at);
        observe::answer("GetSchema", at, work).await.map(Response::new)
    }

    async fn do_get(&self, request: Request<Ticket>) -> Result<Response<Self::DoGetStream>, Status> {
        let at = deadline_of(request.metadata());
        let deadline = longbow_node::rpc::deadline::of(request.metadata());
        let work = do_get::do_get(&self.core, request.into_inner().ticket, deadline);
        observe::reply("DoGet", at, work).await
    }

    async fn do_put(
        &self,
        request: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoPutStream>, Status> {
        let at = longbow_node::rpc::deadline::of(request.metadata());
        let mut told = do_put::do_put(self.core.clone(), request.into_inner(), at);
        // The answer begins with the first that is told: a refusal before it is the status of the call.
        let first = told.next().await.transpose()?;
        let first = futures::stream::iter(first.map(Ok));
        Ok(Response::new(first.chain(told).boxed()))
    }

    async fn do_exchange(
        &self,
        _: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoExchangeStream>, Status> {
        Err(unsupported(
            "DoExchange",
            "use DoPut to store and DoAction VectorSearch to search",
        ))
    }

    async fn do_action(&self, request: Request<Action>) -> Result<Response<Self::DoActionStream>, Status> {
        let at = deadline_of(request.metadata());
        let action = request.into_inner();
        let name = actions::label(&action.r#type);
        observe::reply(name, at, actions::run(self, action, at)).await
    }

    async fn list_actions(&self, _: Request<Empty>) -> Result<Response<Self::ListActionsStream>, Status> {
        Ok(streamed(actions::all()))
    }
}

fn streamed<T: Send + 'static>(items: Vec<T>) -> Response<Answers<T>> {
    Response::new(futures::stream::iter(items.into_iter().map(Ok)).boxed())
}

fn unsupported(call: &'static str, instead: &'static str) -> Status {
    let message = format!("{call} is not supported by this version: {instead}");
    to_status(&Error::new(ErrorCode::Unsupported, message).field(call))
}
