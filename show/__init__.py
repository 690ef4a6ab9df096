"""What people see: text, pictures, pages, and configs for other trainers."""
