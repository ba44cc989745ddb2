"""HTTP/1.1 on the wire: connections, their limits, requests and answers as bytes."""
