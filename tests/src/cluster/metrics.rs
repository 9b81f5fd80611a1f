//! What an API server counts.

use anyhow::{Context, Result};

/// Requests of `verb` for `resource` (or `resource/subresource`), in Prometheus' text form of all counters.
pub(super) fn requests(metrics: &str, verb: &str, resource: &str) -> Result<u64> {
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let wanted = [("verb", verb), ("resource", resource), ("subresource", subresource)];
    let wanted = wanted.map(|(label, value)| format!("{label}=\"{value}\""));
    let mut sum = 0;
    for line in metrics.lines() {
        let Some(rest) = line.strip_prefix("apiserver_request_total{") else { continue };
        let (labels, count) = rest.rsplit_once("} ").context(line.to_owned())?;
        if wanted.iter().all(|wanted| labels.split(',').any(|label| label == wanted)) {
            sum += count.parse::<u64>().context(line.to_owned())?;
        }
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    const METRICS: &str = r#"# TYPE apiserver_request_total counter
apiserver_request_total{code="200",resource="devices",subresource="",verb="PATCH"} 3
apiserver_request_total{code="409",resource="devices",subresource="",verb="PATCH"} 2
apiserver_request_total{code="200",resource="devices",subresource="status",verb="PATCH"} 40
apiserver_request_total{code="200",resource="devices",subresource="",verb="GET"} 500
apiserver_request_body_size_bytes_count{resource="devices",verb="PATCH"} 6000
"#;

    #[test]
    fn requests_are_counted_by_verb_resource_and_subresource() -> Result<()> {
        assert_eq!(requests(METRICS, "PATCH", "devices")?, 5);
        assert_eq!(requests(METRICS, "PATCH", "devices/status")?, 40);
        assert_eq!(requests(METRICS, "PATCH", "nodes")?, 0);
        Ok(())
    }
}
