use super::*;

const AWS: &str = include_str!("../../../tests/topology/aws-ip-ranges.json");
const GCP_CLOUD: &str = include_str!("../../../tests/topology/gcp-cloud.json");
const GCP_GOOG: &str = include_str!("../../../tests/topology/gcp-goog.json");
const AZURE: &str = include_str!("../../../tests/topology/azure-service-tags.json");

fn all() -> Wanted {
    Wanted { regions: Vec::new(), services: Vec::new(), scope: None, via: Via::None }
}

fn lines(cloud: Cloud, files: &[&str], wanted: &Wanted) -> Vec<String> {
    let mut entries = Entries::default();
    for file in files {
        entries.read(cloud, file.as_bytes()).unwrap_or_else(|error| panic!("{error}"));
    }
    let mut lines = Vec::new();
    entries.lines(cloud, wanted, |line| lines.push(line.to_string()));
    for line in &lines {
        assert!(matches!(crate::topology::lines::parse_line(line), Ok(Some(_))), "{line}");
    }
    lines
}

#[test]
fn aws_gives_the_most_special_service_of_a_range_and_joins_neighbours() {
    assert_eq!(
        lines(Cloud::Aws, &[AWS], &all()),
        [
            "3.5.0.0/19 region=us-east-1 service=aws-s3",
            "3.5.76.0/22 region=us-west-2 service=aws-s3",
            "13.32.0.0/15 service=aws-cloudfront",
            "52.94.0.0/22 region=us-east-1 service=aws-dynamodb",
            "54.144.0.0/14 region=us-east-1 service=aws-ec2",
            "2600:1f00:8000::/40 region=us-east-1 service=aws",
            "2600:9000::/28 service=aws-cloudfront",
        ]
    );
}

#[test]
fn wanted_regions_and_services_alone_with_what_is_said_besides() {
    let wanted = Wanted {
        regions: vec!["us-east-1".to_owned()],
        services: vec!["s3".to_owned(), "DYNAMODB".to_owned()],
        scope: Some(Scope::Zone),
        via: Via::Nat,
    };
    assert_eq!(
        lines(Cloud::Aws, &[AWS], &wanted),
        [
            "3.5.0.0/19 region=us-east-1 scope=zone via=nat service=aws-s3",
            "52.94.0.0/22 region=us-east-1 scope=zone via=nat service=aws-dynamodb",
        ]
    );
}

#[test]
fn gcp_knows_regions_by_cloud_json_and_the_rest_by_goog_json() {
    assert_eq!(
        lines(Cloud::Gcp, &[GCP_CLOUD, GCP_GOOG], &all()),
        [
            "8.8.4.0/24 service=gcp-google",
            "34.1.208.0/20 region=africa-south1 service=gcp",
            "34.128.32.0/22 service=gcp",
            "34.192.0.0/10 service=gcp-google",
            "2600:1900::/28 service=gcp-google",
            "2600:1900:4000::/44 region=us-central1 service=gcp",
        ]
    );
}

#[test]
fn azure_prefers_the_tag_of_a_region() {
    assert_eq!(
        lines(Cloud::Azure, &[AZURE], &all()),
        [
            "13.69.40.0/24 region=westeurope service=azure-sql",
            "20.38.98.0/24 region=eastus service=azure-storage",
            "20.42.0.0/17 region=eastus service=azure",
            "20.60.0.0/24 service=azure-storage",
            "2603:1030:408::/48 region=eastus service=azure",
        ]
    );
}

#[test]
fn what_is_no_such_file_is_refused() {
    let read = |cloud, text: &str| Entries::default().read(cloud, text.as_bytes()).expect_err("refused").to_string();
    assert!(read(Cloud::Aws, "{}").contains("prefixes"));
    assert!(read(Cloud::Azure, AWS).contains("values"));
    assert!(read(Cloud::Gcp, AWS).contains("ipv4Prefix"));
    assert!(read(Cloud::Aws, "<html>").contains("not the form"));
    let bad = r#"{"prefixes":[{"ip_prefix":"10.0.0/8","region":"r","service":"S"}]}"#;
    assert_eq!(read(Cloud::Aws, bad), "\"10.0.0/8\" is no range such as 10.0.0.0/16 or fd00::/8");
}
