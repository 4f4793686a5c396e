"""What tests and scripts both need; nothing else imports it."""
