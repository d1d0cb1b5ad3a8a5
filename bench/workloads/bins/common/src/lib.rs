//! What the twenty-four binaries share: enough use of each heavy dependency that every link drags the tree in.

use axum::{Json, Router, routing::get};
use clap::Parser;
use regex::Regex;
use serde::{Deserialize, Serialize};
use sqlx::postgres::PgPoolOptions;
use tantivy::collector::TopDocs;
use tantivy::query::QueryParser;
use tantivy::schema::{STORED, Schema, TEXT, Value};
use tantivy::{Index, TantivyDocument, doc};

pub type Error = Box<dyn std::error::Error + Send + Sync>;

#[derive(Parser)]
pub struct Args {
    /// What to look for.
    #[arg(default_value = "whale")]
    pub query: String,
    /// Where to listen; without it nothing is served.
    #[arg(long)]
    pub listen: Option<String>,
    /// A Postgres connection string.
    #[arg(long)]
    pub database: Option<String>,
    /// A page to count words in.
    #[arg(long)]
    pub url: Option<String>,
}

#[derive(Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Found {
    pub title: String,
}

/// Indexes three titles in memory and looks for a word.
pub fn search(word: &str) -> Result<Vec<Found>, Error> {
    let mut schema = Schema::builder();
    let title = schema.add_text_field("title", TEXT | STORED);
    let index = Index::create_in_ram(schema.build());
    let mut writer = index.writer_with_num_threads(1, 15_000_000)?;
    for name in ["The white whale", "The old man", "A whale of a time"] {
        writer.add_document(doc!(title => name))?;
    }
    writer.commit()?;
    let searcher = index.reader()?.searcher();
    let query = QueryParser::for_index(&index, vec![title]).parse_query(word)?;
    let mut found = Vec::new();
    for (_score, address) in searcher.search(&query, &TopDocs::with_limit(10).order_by_score())? {
        let document: TantivyDocument = searcher.doc(address)?;
        if let Some(value) = document.get_first(title).and_then(|value| value.as_str()) {
            found.push(Found {
                title: value.to_owned(),
            });
        }
    }
    Ok(found)
}

pub fn words(text: &str) -> Result<usize, Error> {
    Ok(Regex::new(r"\p{L}+")?.find_iter(text).count())
}

pub fn router() -> Router {
    Router::new().route(
        "/{word}",
        get(
            |axum::extract::Path(word): axum::extract::Path<String>| async move {
                Json(search(&word).unwrap_or_default())
            },
        ),
    )
}

async fn serve(args: Args) -> Result<(), Error> {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .init();
    if let Some(url) = &args.url {
        let text = reqwest::get(url).await?.text().await?;
        println!("{}", words(&text)?);
    }
    if let Some(url) = &args.database {
        let pool = PgPoolOptions::new().connect(url).await?;
        let now: String = sqlx::query_scalar("select now()::text")
            .fetch_one(&pool)
            .await?;
        println!("{now}");
    }
    println!("{}", serde_json::to_string(&search(&args.query)?)?);
    if let Some(listen) = &args.listen {
        tracing::info!(%listen, "listening");
        axum::serve(tokio::net::TcpListener::bind(listen).await?, router()).await?;
    }
    Ok(())
}

/// What every binary's `main` does.
pub fn run(name: &str) -> Result<(), Error> {
    println!("{name}");
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(serve(Args::parse()))
}
