"""Plays the zoom tool for a model behind `./vigorl serve`, with the official OpenAI client: the model
asks for a place, this program cuts it out of the original pixels and sends it back enlarged.

    ./vigorl serve models/nano &
    pip install openai pillow
    python3 examples/zoom.py picture.png "Which digit is on the red star?"
"""

import base64
import io
import json
import math
import os
import sys

from openai import OpenAI
from PIL import Image

# Of the nano model: the side of what it sees, of the window around a point in it, and of a crop.
VIEW, WINDOW, CROP = 112, 8, 112
TOOL = {
    "type": "function",
    "function": {
        "name": "search_coordinate",
        "description": "enlarges the part of the image around a point",
        "parameters": {
            "type": "object",
            "properties": {"coordinate": {"type": "array", "items": {"type": "number"}}},
        },
    },
}


def part(image):
    file = io.BytesIO()
    image.save(file, "PNG")
    url = "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
    return {"type": "image_url", "image_url": {"url": url}}


def side(centre, window, limit):
    """Begin and end, in whole pixels, of a window that stays inside."""
    begin = math.floor(centre - window / 2 + 0.5)
    begin = min(max(0, begin), limit - window)
    return begin, begin + window


def zoom(image, coordinate):
    (x, y), (width, height) = coordinate, image.size
    left, right = side(x * width / VIEW, round(WINDOW * width / VIEW), width)
    top, bottom = side(y * height / VIEW, round(WINDOW * height / VIEW), height)
    return image.crop((left, top, right, bottom)).resize((CROP, CROP), Image.BICUBIC)


picture, question = sys.argv[1:3]
image = Image.open(picture).convert("RGB")
client = OpenAI(
    base_url=os.environ.get("VIGORL_URL", "http://127.0.0.1:8000/v1"),
    api_key=os.environ.get("VIGORL_KEY", "none"),
)
model = client.models.list().data[0].id
messages = [{"role": "user", "content": [part(image), {"type": "text", "text": question}]}]
for _ in range(3):
    reply = client.chat.completions.create(
        model=model, messages=messages, tools=[TOOL], temperature=0, seed=1, max_tokens=64
    )
    message = reply.choices[0].message
    print(message.content)
    if not message.tool_calls:
        break
    messages.append(message)
    for call in message.tool_calls:
        place = json.loads(call.function.arguments)["coordinate"]
        print(f"  zooms in at {place}")
        content = [part(zoom(image, place))]
        messages.append({"role": "tool", "tool_call_id": call.id, "content": content})
