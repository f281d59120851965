"""What models there are on this machine: names, manifests, blobs by digest, aliases."""
