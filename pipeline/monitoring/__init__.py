"""What Cloud Monitoring shows of a job, and when it calls for somebody."""
