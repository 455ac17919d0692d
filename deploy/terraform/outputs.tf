output "url" {
  value       = google_cloud_run_v2_service.karute.uri
  description = "Where the service answers: deploy/check-live takes it."
}

output "share_the_spreadsheet_with" {
  value       = google_service_account.job.email
  description = "As a viewer."
}
