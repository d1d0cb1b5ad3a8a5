//! A small web service: enough use of each heavy dependency that all of them are compiled and linked.

use anyhow::Result;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use clap::Parser;
use serde::{Deserialize, Serialize};
use sqlx::postgres::{PgPool, PgPoolOptions};
use tower_http::{compression::CompressionLayer, cors::CorsLayer, trace::TraceLayer};

#[derive(Parser)]
struct Args {
    /// Where to listen; without it the program only builds its router.
    #[arg(long, env = "LISTEN")]
    listen: Option<String>,
    #[arg(
        long,
        env = "DATABASE_URL",
        default_value = "postgres://localhost/postgres"
    )]
    database: String,
}

#[derive(Clone)]
struct App {
    pool: PgPool,
    http: reqwest::Client,
    s3: aws_sdk_s3::Client,
}

#[derive(Serialize, Deserialize, sqlx::FromRow)]
struct Item {
    id: i64,
    name: String,
}

fn internal(error: impl std::fmt::Display) -> (StatusCode, String) {
    (StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
}

async fn item(
    State(app): State<App>,
    Path(id): Path<i64>,
) -> Result<Json<Option<Item>>, (StatusCode, String)> {
    let found = sqlx::query_as::<_, Item>("select id, name from item where id = $1")
        .bind(id)
        .fetch_optional(&app.pool)
        .await
        .map_err(internal)?;
    Ok(Json(found))
}

async fn proxied(State(app): State<App>) -> Result<Json<serde_json::Value>, (StatusCode, String)> {
    let response = app
        .http
        .get("http://localhost:1/items")
        .send()
        .await
        .map_err(internal)?;
    Ok(Json(response.json().await.map_err(internal)?))
}

async fn objects(State(app): State<App>) -> Result<Json<Vec<String>>, (StatusCode, String)> {
    let listed = app
        .s3
        .list_objects_v2()
        .bucket("items")
        .send()
        .await
        .map_err(internal)?;
    let keys = listed.contents().iter().filter_map(|object| object.key());
    Ok(Json(keys.map(str::to_owned).collect()))
}

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    tracing_subscriber::fmt()
        .json()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .init();
    let aws = aws_config::load_defaults(aws_config::BehaviorVersion::latest()).await;
    let app = App {
        pool: PgPoolOptions::new().connect_lazy(&args.database)?,
        http: reqwest::Client::new(),
        s3: aws_sdk_s3::Client::new(&aws),
    };
    let router = Router::new()
        .route("/item/{id}", get(item))
        .route("/proxied", get(proxied))
        .route("/objects", get(objects))
        .layer(TraceLayer::new_for_http())
        .layer(CompressionLayer::new())
        .layer(CorsLayer::permissive())
        .with_state(app);
    if let Some(listen) = args.listen {
        let listener = tokio::net::TcpListener::bind(&listen).await?;
        tracing::info!(%listen, "listening");
        axum::serve(listener, router).await?;
    }
    Ok(())
}
