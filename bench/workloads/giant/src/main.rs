//! One generated crate of a million lines: the build that is known to die on small machines.

use aws_sdk_ec2::config::{BehaviorVersion, Region};

#[tokio::main]
async fn main() {
    let config = aws_sdk_ec2::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .build();
    let client = aws_sdk_ec2::Client::from_conf(config);
    match client.describe_instances().max_results(5).send().await {
        Ok(found) => println!("{} reservations", found.reservations().len()),
        Err(error) => println!("{error}"),
    }
}
