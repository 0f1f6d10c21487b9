"""What a fetch needs: listed in the bucket, or by a listing that was kept, and compared with what is there."""
