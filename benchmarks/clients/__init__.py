"""clients — where load comes from: h2load, and Python clients in processes of their own."""
