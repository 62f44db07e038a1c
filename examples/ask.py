"""Asks a model behind `./vigorl serve` about a picture, with the official OpenAI client.

    ./vigorl serve models/nano &
    pip install openai
    python3 examples/ask.py picture.png "which digit is on the red star?"
"""

import base64
import os
import sys

from openai import OpenAI

picture, question = sys.argv[1:3]
with open(picture, "rb") as file:
    url = "data:image/png;base64," + base64.b64encode(file.read()).decode()

client = OpenAI(
    base_url=os.environ.get("VIGORL_URL", "http://127.0.0.1:8000/v1"),
    api_key=os.environ.get("VIGORL_KEY", "none"),
)
model = client.models.list().data[0].id
reply = client.chat.completions.create(
    model=model,
    seed=1,
    max_tokens=64,
    messages=[
        {
            "role": "user",
            "content": [
                {"type": "image_url", "image_url": {"url": url}},
                {"type": "text", "text": question},
            ],
        }
    ],
)
print(reply.choices[0].message.content)
