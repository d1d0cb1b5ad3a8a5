//! One route for each thing that a built Worker can lose: text, JSON, a binding, and its life.

use serde::Serialize;
use worker::{console_error, event, Context, Env, Request, Response, Result, Router};

#[derive(Serialize)]
struct Named<'a> {
    name: &'a str,
    letters: usize,
}

/// Says on the console what a panic was, before or after the hook of `worker`: either keeps the other.
#[event(start)]
fn start() {
    let other = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        console_error!("site: {info}");
        other(info);
    }));
}

#[event(fetch)]
async fn fetch(request: Request, env: Env, _context: Context) -> Result<Response> {
    Router::new()
        .get("/", |_, _| Response::ok("a page of site"))
        .get("/json/:name", |_, route| match route.param("name") {
            Some(name) => Response::from_json(&Named { name, letters: name.chars().count() }),
            None => Response::error("no name", 400),
        })
        .get("/greeting", |_, route| Response::ok(route.env.var("GREETING")?.to_string()))
        .get("/panic", |_, _| panic!("asked to"))
        .run(request, env)
        .await
}
