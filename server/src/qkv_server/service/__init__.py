"""What the server does, without a transport: decode → resolve → admit → compute → encode."""
