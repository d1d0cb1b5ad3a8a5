//! A small server around a WebAssembly engine: enough use of each heavy dependency that all of them are compiled and linked.

use std::sync::Arc;

use actix_web::{App, HttpResponse, HttpServer, web};
use anyhow::{Context, Result};
use async_graphql::{EmptyMutation, EmptySubscription, Object, Schema};
use clap::Parser;
use deadpool_postgres::{Manager, Pool};
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

#[derive(Parser)]
struct Args {
    /// Where to listen; without it the program only runs its self-check.
    #[arg(long)]
    listen: Option<String>,
    /// A Postgres connection string.
    #[arg(long)]
    database: Option<String>,
}

struct Host {
    wasi: WasiCtx,
    table: ResourceTable,
}

impl WasiView for Host {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

struct Query;

#[Object]
impl Query {
    async fn add(&self, a: i32, b: i32) -> async_graphql::Result<i32> {
        Ok(run_module(a, b)?)
    }
}

fn run_module(a: i32, b: i32) -> Result<i32> {
    let engine = wasmtime::Engine::default();
    let text = r#"(module (func (export "add") (param i32 i32) (result i32)
        local.get 0 local.get 1 i32.add))"#;
    let module = wasmtime::Module::new(&engine, text)?;
    let host = Host {
        wasi: WasiCtx::builder().build(),
        table: ResourceTable::new(),
    };
    let mut store = wasmtime::Store::new(&engine, host);
    let instance = wasmtime::Instance::new(&mut store, &module, &[])?;
    let add = instance.get_typed_func::<(i32, i32), i32>(&mut store, "add")?;
    Ok(add.call(&mut store, (a, b))?)
}

fn component_linker() -> Result<wasmtime::component::Linker<Host>> {
    let mut linker = wasmtime::component::Linker::new(&wasmtime::Engine::default());
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    Ok(linker)
}

fn tls() -> Result<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

async fn database_time(url: &str) -> Result<String> {
    let config: tokio_postgres::Config = url.parse().context("the connection string")?;
    let manager = Manager::new(
        config,
        tokio_postgres_rustls::MakeRustlsConnect::new(tls()?),
    );
    let pool = Pool::builder(manager).max_size(2).build()?;
    let client = pool.get().await?;
    let row = client.query_one("select now()::text", &[]).await?;
    Ok(row.get(0))
}

#[actix_web::main]
async fn main() -> Result<()> {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .init();
    let args = Args::parse();
    let schema = Schema::new(Query, EmptyMutation, EmptySubscription);
    let answer = schema.execute("{ add(a: 20, b: 22) }").await;
    println!("{}", serde_json::to_string(&answer)?);
    let _linker = component_linker()?;
    let _connector = tokio_rustls::TlsConnector::from(Arc::new(tls()?));
    if let Some(url) = &args.database {
        println!("{}", database_time(url).await?);
    }
    if let Some(listen) = &args.listen {
        tracing::info!(%listen, "listening");
        let data = web::Data::new(schema);
        HttpServer::new(move || {
            App::new().app_data(data.clone()).route(
                "/",
                web::post().to(
                    |schema: web::Data<Schema<Query, EmptyMutation, EmptySubscription>>,
                     body: String| async move {
                        HttpResponse::Ok().json(schema.execute(body).await)
                    },
                ),
            )
        })
        .bind(listen)?
        .run()
        .await?;
    }
    Ok(())
}
