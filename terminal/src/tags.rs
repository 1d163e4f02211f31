//! `mosso tags`: which attributes there are, and which values one has.

use std::process::ExitCode;

use clap::Args;

use crate::args::{Range, Server};
use crate::client::Client;
use crate::error::Error;
use crate::screen::{Form, Output, Screen, Style, print_document};
use crate::table::{Cell, Column, Table};

#[derive(Debug, Args)]
pub struct Arguments {
    /// An attribute with its scope, whose values are listed: `resource.service.name`, `span.http.route`, `status`
    name: Option<String>,
    /// Only of spans that match: `{ resource.service.name = "shop" }`
    #[arg(long, short, value_name = "TRACEQL")]
    query: Option<String>,
    #[command(flatten)]
    range: Range,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    server: Server,
}

pub(crate) async fn run(arguments: &Arguments) -> Result<ExitCode, Error> {
    let (client, screen) = (Client::new(&arguments.server)?, Screen::of(arguments.output));
    let (times, filter) = (arguments.range.times()?, arguments.query.as_deref());
    let (body, table) = match &arguments.name {
        None => names(&client, filter, times).await?,
        Some(name) => values(&client, name, filter, times).await?,
    };
    match screen.form {
        Form::Json => print_document(&body)?,
        Form::People | Form::Tsv => table.print(&screen)?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn names(
    client: &Client,
    filter: Option<&str>,
    times: crate::args::Times,
) -> Result<(bytes::Bytes, Table), Error> {
    let (body, names) = client.tag_names(filter, times).await?;
    let mut table = Table::new([Column::whole("SCOPE"), Column::text("NAME")]);
    for scope in names.scopes {
        for tag in scope.tags {
            // intrinsics are asked for by their names alone
            let name = if scope.name == "intrinsic" { tag } else { format!("{}.{tag}", scope.name) };
            table.row([Cell::text(&scope.name).styled(Style::Dim), Cell::text(name)]);
        }
    }
    Ok((body, table))
}

async fn values(
    client: &Client,
    name: &str,
    filter: Option<&str>,
    times: crate::args::Times,
) -> Result<(bytes::Bytes, Table), Error> {
    let (body, values) = client.tag_values(name, filter, times).await?;
    let mut table = Table::new([Column::whole("TYPE"), Column::text("VALUE")]);
    for value in values.tag_values {
        table.row([Cell::text(value.kind).styled(Style::Dim), Cell::text(value.value)]);
    }
    Ok((body, table))
}
