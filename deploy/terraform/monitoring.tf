# The alerts and the dashboard are the files of ../monitoring; nothing is written twice.
resource "google_monitoring_dashboard" "karute" {
  dashboard_json = file("${path.module}/../monitoring/dashboard.json")
}

locals {
  policies = {
    for name in fileset("${path.module}/../monitoring/alert-policies", "*.json") :
    trimsuffix(name, ".json") => jsondecode(file("${path.module}/../monitoring/alert-policies/${name}"))
  }
}

resource "google_monitoring_alert_policy" "all" {
  for_each              = local.policies
  display_name          = each.value.displayName
  combiner              = each.value.combiner
  severity              = each.value.severity
  notification_channels = var.notification_channels

  documentation {
    content   = each.value.documentation.content
    mime_type = each.value.documentation.mimeType
  }

  conditions {
    display_name = each.value.conditions[0].displayName

    condition_prometheus_query_language {
      query                     = each.value.conditions[0].conditionPrometheusQueryLanguage.query
      duration                  = each.value.conditions[0].conditionPrometheusQueryLanguage.duration
      evaluation_interval       = each.value.conditions[0].conditionPrometheusQueryLanguage.evaluationInterval
      disable_metric_validation = each.value.conditions[0].conditionPrometheusQueryLanguage.disableMetricValidation
    }
  }
}
